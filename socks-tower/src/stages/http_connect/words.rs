//! What HTTP clients hear.

use std::{sync::Arc, time::Duration};

use http::{Response, header};
use socks_core::v5::ReplyCode;

use crate::session::{Dialect, Error, ErrorKind, Reply, Session};

/// The user's own words for a refusal: none leaves it at ours.
pub(in crate::stages) type Respond =
    Arc<dyn Fn(&Error, &Session) -> Option<Response<String>> + Send + Sync>;

/// The later stages' yes and no.
pub(crate) struct Http {
    /// The user's, and whom they are about.
    respond: Option<Box<(Respond, Session)>>,
}

impl Http {
    pub(in crate::stages) fn new(respond: Option<&Respond>, session: &Session) -> Self {
        let respond = respond.map(|respond| Box::new((Arc::clone(respond), session.for_work())));
        Self { respond }
    }

    /// Says no more than we do.
    #[cfg(feature = "test-util")]
    pub(crate) fn ours() -> Self {
        Self { respond: None }
    }

    /// What the user has to say; none if it does not read as a refusal.
    fn response(&self, error: &Error) -> Option<Response<String>> {
        let (respond, session) = &**self.respond.as_ref()?;
        let response = respond(error, session)?;
        let status = response.status();
        (status.is_client_error() || status.is_server_error()).then_some(response)
    }
}

impl Dialect for Http {
    fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let (code, error) = match *reply {
            Reply::Granted { .. } => {
                return out.extend(b"HTTP/1.1 200 Connection established\r\n\r\n");
            }
            Reply::Refused { code, error, .. } => (code, error),
        };
        let retry_after = error.retry_after();
        if let Some(response) = self.response(error) {
            return write(response, retry_after, out);
        }
        let mut field = String::new();
        if let Some(time) = retry_after {
            field = format!("Retry-After: {}\r\n", time.as_secs());
        }
        out.extend(Status::of(code, error).answer(&field, &did_not_connect(code)));
    }
}

fn did_not_connect(code: ReplyCode) -> String {
    // A refusal never reads as a success, whatever its code.
    let code = match code {
        ReplyCode::SUCCEEDED => ReplyCode::GENERAL_FAILURE,
        code => code,
    };
    format!("The proxy did not connect: {code}.")
}

#[cfg(feature = "http-forward")]
impl Http {
    /// The answer to a request that is refused, for others to write.
    pub(in crate::stages) fn refusal(&self, code: ReplyCode, error: &Error) -> Response<String> {
        let mut response = self.response(error).unwrap_or_else(|| {
            let text = did_not_connect(code);
            Status::of(code, error).response(&text)
        });
        if let Some(time) = error.retry_after() {
            let seconds = http::HeaderValue::from(time.as_secs());
            let entry = response.headers_mut().entry(header::RETRY_AFTER);
            entry.or_insert(seconds);
        }
        response
    }
}

/// Writes a response of the user's. Its values can hold no end of a line; where
/// it ends, we say.
fn write(response: Response<String>, retry_after: Option<Duration>, out: &mut Vec<u8>) {
    const FRAMING: [header::HeaderName; 4] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let (head, body) = response.into_parts();
    let reason = head.status.canonical_reason().unwrap_or_default();
    out.extend(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).into_bytes());
    let own = head.headers.iter();
    for (name, value) in own.filter(|(name, _)| !FRAMING.contains(name)) {
        out.extend(name.as_str().as_bytes());
        out.extend(b": ");
        out.extend(value.as_bytes());
        out.extend(b"\r\n");
    }
    let mut ours = String::new();
    if let Some(time) = retry_after.filter(|_| !head.headers.contains_key(header::RETRY_AFTER)) {
        ours += &format!("retry-after: {}\r\n", time.as_secs());
    }
    if !head.headers.contains_key(header::CONTENT_TYPE) {
        ours += "content-type: text/plain\r\n";
    }
    ours += &format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    out.extend(ours.into_bytes());
    out.extend(body.into_bytes());
}

/// A status code and its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stages) struct Status(&'static str);

impl Status {
    pub(in crate::stages) const BAD_REQUEST: Self = Self("400 Bad Request");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self("405 Method Not Allowed");
    pub(in crate::stages) const PROXY_AUTHENTICATION_REQUIRED: Self =
        Self("407 Proxy Authentication Required");
    pub(in crate::stages) const REQUEST_TIMEOUT: Self = Self("408 Request Timeout");
    pub(in crate::stages) const HEADER_FIELDS_TOO_LARGE: Self =
        Self("431 Request Header Fields Too Large");
    pub(in crate::stages) const SERVICE_UNAVAILABLE: Self = Self("503 Service Unavailable");
    pub(in crate::stages) const BAD_GATEWAY: Self = Self("502 Bad Gateway");
    pub(in crate::stages) const VERSION_NOT_SUPPORTED: Self =
        Self("505 HTTP Version Not Supported");

    /// What a refused request is told.
    fn of(code: ReplyCode, error: &Error) -> Self {
        match code {
            ReplyCode::GENERAL_FAILURE if error.kind() == ErrorKind::Limited => {
                Self("429 Too Many Requests")
            }
            ReplyCode::CONNECTION_NOT_ALLOWED => Self("403 Forbidden"),
            ReplyCode::COMMAND_NOT_SUPPORTED => Self("501 Not Implemented"),
            ReplyCode::TTL_EXPIRED => Self("504 Gateway Timeout"),
            _ => Self::BAD_GATEWAY,
        }
    }

    /// The response, with `text` as its body, for others to write.
    #[cfg(feature = "http-forward")]
    pub(in crate::stages) fn response(self, text: &str) -> Response<String> {
        let mut response = Response::new(format!("{text}\r\n"));
        let code = self.0.get(..3).and_then(|code| code.parse().ok());
        *response.status_mut() = code.unwrap_or(http::StatusCode::BAD_GATEWAY);
        let plain = http::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }

    /// The whole response: the fields that the status asks for, those that a
    /// last response has, and `text` as its body.
    pub(in crate::stages) fn answer(self, field: &str, text: &str) -> Vec<u8> {
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
pub(in crate::stages) fn without_body(answer: &[u8]) -> &[u8] {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|end| end == END);
    let head = head.and_then(|at| answer.get(..at + END.len()));
    head.unwrap_or(answer)
}
