//! Why a session of the client's comes to nothing.

use thiserror::Error;

use crate::{
    DecodeError, v4,
    v5::{self, Method},
};

/// Why the session cannot go on. Whichever it is, close the connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The server accepts none of the methods offered.
    #[error("server accepts none of the authentication methods offered")]
    NoAcceptableMethod,
    /// The server chose a method that it had not been offered.
    #[error("server chose authentication method {:#04x}, which was not offered", .0.0)]
    MethodNotOffered(Method),
    /// The server does not accept the username and password.
    #[error("server rejected username and password with status {status:#04x}")]
    CredentialsRejected {
        /// RFC 1929's STATUS: not 0, and without further meaning.
        status: u8,
    },
    /// The server refused the request, or could not carry it out.
    #[error("server refused: {0}")]
    Refused(FailureCode),
    /// A message is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The caller's mistake: this is not what comes next.
    #[error("called out of turn")]
    OutOfTurn,
}

/// The code with which a server refused a request, in its own protocol.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FailureCode {
    /// SOCKS4 and SOCKS4a.
    #[error("{0}")]
    V4(v4::ReplyCode),
    /// SOCKS5.
    #[error("{0}")]
    V5(v5::ReplyCode),
}

impl FailureCode {
    /// The code in SOCKS5's words, such as a proxy in front passes on. SOCKS4
    /// tells no reasons: its codes are all general failures.
    #[must_use]
    pub const fn reply_code(&self) -> v5::ReplyCode {
        match self {
            Self::V4(_) => v5::ReplyCode::GENERAL_FAILURE,
            Self::V5(code) => *code,
        }
    }
}

/// SOCKS4 has no words for a target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// A name, which takes SOCKS4a.
    #[error("SOCKS4 takes no names")]
    Name,
    /// An IPv6 address.
    #[error("SOCKS4 takes no IPv6 addresses")]
    Ipv6,
    /// One of 0.0.0.1 to 0.0.0.255, which announce SOCKS4a's names.
    #[error("SOCKS4 takes no addresses from 0.0.0.1 to 0.0.0.255")]
    Reserved,
}
