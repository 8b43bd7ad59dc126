//! GSS-API (RFC 1961) as both sides use it: a context by whatever mechanism, and what
//! a stream and datagrams are once there is one.

mod ap_req;
#[cfg(test)]
mod fake;
#[cfg(feature = "gssapi")]
mod krb5;
#[cfg(all(docsrs, not(feature = "gssapi")))]
mod no_krb5;
mod protected;
mod steps;

use std::{ops::Range, time::Duration};

#[cfg(test)]
pub(crate) use fake::{Fake, FakeClient, FakeContext};
#[cfg(feature = "gssapi")]
pub(crate) use krb5::{Krb5Acceptor, Krb5Initiator};
#[cfg(all(docsrs, not(feature = "gssapi")))]
pub(crate) use no_krb5::{Krb5Acceptor, Krb5Initiator};
pub(crate) use protected::{Order, protect};
use socks_core::{
    Encode, FieldError,
    v5::gssapi::{Message, MessageType, Token},
};
pub(crate) use steps::Steps;

/// How all that follows the authentication is protected (RFC 1961 section 4).
///
/// [`GssApi`](crate::GssApi) leaves in [`Session.extensions`](crate::Session::extensions)
/// which was agreed on: [`Match::extension`](crate::Match::extension) asks about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Not at all, which the RFC does not have: everybody on the way can read and
    /// change it.
    Unprotected,
    /// Nobody can change it: level 1.
    Integrity,
    /// Nobody can read or change it: level 2.
    Confidentiality,
}

impl Protection {
    /// Its number in the protocol.
    pub(crate) const fn level(self) -> u8 {
        match self {
            Self::Unprotected => 0,
            Self::Integrity => 1,
            Self::Confidentiality => 2,
        }
    }

    pub(crate) const fn of_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::Unprotected),
            1 => Some(Self::Integrity),
            2 => Some(Self::Confidentiality),
            _ => None,
        }
    }

    pub(crate) fn encrypts(self) -> bool {
        self == Self::Confidentiality
    }
}

/// The system's GSS-API, or what it was given, is to blame.
///
/// Its text is the library's own.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct GssApiError(pub(crate) String);

impl From<&str> for GssApiError {
    fn from(what: &str) -> Self {
        Self(what.into())
    }
}

/// A security context, from its first token on. Whatever it does but
/// [`step`](Self::step) is computation.
pub(crate) trait Context: Send + 'static {
    /// Takes the other side's token, and says what it is to be told. May block.
    fn step(&mut self, token: &[u8]) -> Result<Step, GssApiError>;

    /// What has been agreed on, once the context is complete.
    fn facts(&self) -> Result<Facts, GssApiError>;

    /// How much can be wrapped so that it fits a message.
    fn most(&mut self, encrypt: bool) -> Result<usize, GssApiError>;

    /// Appends to `out` the token of `plain`.
    fn wrap(&mut self, encrypt: bool, plain: &[u8], out: &mut Vec<u8>) -> Result<(), GssApiError>;

    /// Unwraps a token in its place. One that has come before, or not in its order, is
    /// an error.
    fn unwrap(&mut self, token: &mut [u8]) -> Result<Unwrapped, GssApiError>;
}

/// What comes of a step of a context's set-up.
pub(crate) struct Step {
    /// For the other side; there may be none.
    pub(crate) token: Vec<u8>,
    pub(crate) is_complete: bool,
}

pub(crate) struct Unwrapped {
    /// Where in the token what was wrapped lies.
    pub(crate) range: Range<usize>,
    pub(crate) encrypted: bool,
}

/// What is known of a complete context.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Who began it.
    pub(crate) initiator: String,
    /// Its name is one that anybody can have.
    pub(crate) anonymous: bool,
    /// Each knows the other.
    pub(crate) mutual: bool,
    /// A message that comes twice is noticed.
    pub(crate) replay: bool,
    /// So is one that is missing, or comes in another order.
    pub(crate) sequence: bool,
    /// How long the ticket is good for; none for ever.
    pub(crate) lifetime: Option<Duration>,
}

/// How contexts are accepted: one for a server.
pub(crate) trait Acceptor: Send + Sync + 'static {
    /// A context that has not had its first token.
    fn context(&self) -> Box<dyn Context>;

    /// The part of a first token that no other has. None, if it is no such token.
    fn unique<'t>(&self, token: &'t [u8]) -> Option<&'t [u8]>;
}

/// How contexts are begun: one for a client.
pub(crate) trait Initiator: Send + Sync + 'static {
    /// A context that has not had its first step, which is given no token.
    fn context(&self, wanted: Wanted) -> Result<Box<dyn Context>, GssApiError>;
}

/// What a client asks of a context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) sequence: bool,
    pub(crate) delegation: bool,
}

/// The message that carries `token`.
pub(crate) fn message(message_type: MessageType, token: Vec<u8>) -> Result<Vec<u8>, FieldError> {
    let token = Token::new(token)?;
    Ok(Message::Token {
        message_type,
        token,
    }
    .to_bytes())
}
