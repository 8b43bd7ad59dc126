//! What HTTP clients hear.

use socks_core::v5::ReplyCode;

use crate::session::{Dialect, ErrorKind, Reply};

/// The later stages' yes and no.
pub(super) struct Http;

impl Dialect for Http {
    fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let (code, error) = match *reply {
            Reply::Granted { .. } => {
                return out.extend(b"HTTP/1.1 200 Connection established\r\n\r\n");
            }
            Reply::Refused { code, error, .. } => (code, error),
        };
        let status = match code {
            ReplyCode::GENERAL_FAILURE if error.kind() == ErrorKind::Limited => {
                Status("429 Too Many Requests")
            }
            ReplyCode::CONNECTION_NOT_ALLOWED => Status("403 Forbidden"),
            ReplyCode::COMMAND_NOT_SUPPORTED => Status("501 Not Implemented"),
            ReplyCode::TTL_EXPIRED => Status("504 Gateway Timeout"),
            _ => Status("502 Bad Gateway"),
        };
        // A refusal never reads as a success, whatever its code.
        let code = match code {
            ReplyCode::SUCCEEDED => ReplyCode::GENERAL_FAILURE,
            code => code,
        };
        out.extend(status.answer("", &format!("The proxy did not connect: {code}.")));
    }
}

/// A status code and its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(&'static str);

impl Status {
    pub(super) const BAD_REQUEST: Self = Self("400 Bad Request");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self("405 Method Not Allowed");
    pub(super) const PROXY_AUTHENTICATION_REQUIRED: Self =
        Self("407 Proxy Authentication Required");
    pub(super) const REQUEST_TIMEOUT: Self = Self("408 Request Timeout");
    pub(super) const HEADER_FIELDS_TOO_LARGE: Self = Self("431 Request Header Fields Too Large");
    pub(super) const SERVICE_UNAVAILABLE: Self = Self("503 Service Unavailable");
    pub(super) const VERSION_NOT_SUPPORTED: Self = Self("505 HTTP Version Not Supported");

    /// The whole response: the fields that the status asks for, those that a
    /// last response has, and `text` as its body.
    pub(super) fn answer(self, field: &str, text: &str) -> Vec<u8> {
        let Self(status) = self;
        // The line has its end.
        let len = text.len() + 2;
        format!(
            "HTTP/1.1 {status}\r\n\
             {field}\
             Content-Type: text/plain\r\n\
             Content-Length: {len}\r\n\
             Connection: close\r\n\
             \r\n\
             {text}\r\n"
        )
        .into_bytes()
    }
}

/// What answers a HEAD: the same, up to where the body begins (RFC 9110 section
/// 9.3.2). Whoever reads it takes a body for the next answer.
pub(super) fn without_body(answer: &[u8]) -> &[u8] {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|end| end == END);
    let head = head.and_then(|at| answer.get(..at + END.len()));
    head.unwrap_or(answer)
}
