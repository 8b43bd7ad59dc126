//! Why a session of the server's comes to nothing.

use thiserror::Error;

use crate::DecodeError;

/// Why the session cannot go on. [`Server::answer`](super::Server::answer) has the words for the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The first byte begins no version of SOCKS.
    #[error("not SOCKS: the first byte is {:#04x}{}", .0, looks_like(.0))]
    NotSocks(u8),
    /// A version of SOCKS that this server does not serve.
    #[error("SOCKS{0} is not served")]
    VersionNotServed(u8),
    /// A message is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The caller's mistake: this is not what comes next.
    #[error("called out of turn")]
    OutOfTurn,
    /// The caller's mistake: a refusal with the code of success.
    #[error("a refusal with the code of success")]
    NotARefusal,
}

/// A hint for whoever reads the log.
fn looks_like(first: &u8) -> &'static str {
    match *first {
        0x16 => " (TLS?)",
        b'S' => " (SSH?)",
        first if is_http(first) => " (HTTP?)",
        _ => "",
    }
}

/// The first letters of HTTP's methods.
pub(super) fn is_http(first: u8) -> bool {
    matches!(first, b'C' | b'D' | b'G' | b'H' | b'O' | b'P' | b'T')
}
