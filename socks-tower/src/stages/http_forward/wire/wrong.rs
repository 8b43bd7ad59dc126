use std::io;

use socks_core::ParseTargetError;

use crate::stages::http_connect::{
    head::MAX_LEN,
    words::{Status, without_body},
};

/// Why a message is not passed on.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Wrong {
    #[error("the first byte, {0:#04x}, begins no HTTP")]
    NotHttp(u8),
    #[error("the head is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("the head is long, and too many such are being read")]
    NoRoom,
    #[error("the head is malformed")]
    Malformed(#[source] httparse::Error),
    #[error("a line of the head does not end in CR LF, or goes on in the next")]
    Line,
    #[error("there is not one Host")]
    Host,
    #[error("there is more than one Proxy-Authorization")]
    TwoAuthorizations,
    #[error("no http:// URL is asked for")]
    NoUrl,
    #[error("the URL names a user, who would be told to the target")]
    UserInfo,
    #[error("the URL has a fragment")]
    Fragment,
    #[error("the URL names no target")]
    Target(#[source] ParseTargetError),
    #[error("where the body ends is not said once")]
    Framing,
    #[error("the body's chunks are malformed")]
    Chunk,
    #[error("the message has no body, and something follows it")]
    Behind,
    #[error("the answer is not in HTTP/1")]
    NoAnswer,
    #[error("nobody has asked for anything")]
    Unasked,
    #[error("the request took too long")]
    Late,
}

impl Wrong {
    /// What a client hears that has sent such a request, of which `head` is the
    /// beginning.
    pub(in super::super) fn answer(&self, head: &[u8]) -> Vec<u8> {
        let status = match self {
            Self::TooLong | Self::Malformed(httparse::Error::TooManyHeaders) => {
                Status::HEADER_FIELDS_TOO_LARGE
            }
            Self::NoRoom => Status::SERVICE_UNAVAILABLE,
            Self::Late => Status::REQUEST_TIMEOUT,
            Self::Malformed(httparse::Error::Version) => Status::VERSION_NOT_SUPPORTED,
            _ => Status::BAD_REQUEST,
        };
        let text = match self {
            Self::NoUrl => "This is a proxy, and no web server. It fetches http:// URLs, which a \
                 request names whole (GET http://example.com/ HTTP/1.1), and tunnels all else \
                 by CONNECT and, where they are served on this port, SOCKS4 and SOCKS5. \
                 https:// is for the client to speak, through a tunnel."
                .to_owned(),
            wrong => format!("{wrong}."),
        };
        let answer = status.answer("", &text);
        match head.starts_with(b"HEAD ") {
            true => without_body(&answer).to_vec(),
            false => answer,
        }
    }
}

impl From<Wrong> for io::Error {
    fn from(wrong: Wrong) -> Self {
        Self::new(io::ErrorKind::InvalidData, wrong)
    }
}
