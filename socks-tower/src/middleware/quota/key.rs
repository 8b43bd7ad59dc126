use std::fmt;

use crate::{
    middleware::client_key::ClientKey,
    session::{Identity, Session},
};

/// Whose bytes are counted.
///
/// It prints as a short text that no other key has: `overall`,
/// `client:192.0.2.1`, `identity:joe`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuotaKey {
    /// Everybody's.
    Overall,
    /// A client's: an IPv4 address, or an IPv6 network of 64 bits. Clients of
    /// whom nobody knows the address count as one, `client`.
    Client(Option<ClientKey>),
    /// A user's. Those who need not say who they are count as one, `identity`.
    Identity(Option<Identity>),
}

impl fmt::Display for QuotaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overall => f.write_str("overall"),
            Self::Client(None) => f.write_str("client"),
            Self::Client(Some(network)) => write!(f, "client:{network}"),
            Self::Identity(None) => f.write_str("identity"),
            Self::Identity(Some(identity)) => write!(f, "identity:{identity}"),
        }
    }
}

/// What tells one account from another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Per {
    Overall,
    Client,
    Identity,
}

impl Per {
    pub(super) fn key(self, session: &Session) -> QuotaKey {
        match self {
            Self::Overall => QuotaKey::Overall,
            Self::Client => QuotaKey::Client(ClientKey::of_session(session)),
            Self::Identity => QuotaKey::Identity(session.identity.clone()),
        }
    }
}
