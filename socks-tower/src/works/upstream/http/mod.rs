//! HTTP CONNECT, as a client asks for it (RFC 9110 section 9.3.6).

mod head;

use std::{fmt, sync::Arc};

use base64ct::{Base64, Encoding};
use head::read_head;
use socks_core::{Credentials, Target, v5::ReplyCode};

use super::{
    UpstreamError, UpstreamFailure,
    hop::{Hop, Protocol, hop_connector},
};
use crate::session::Stream;

/// Connects to targets through an HTTP proxy by CONNECT, which `C` reaches. See
/// the [module's page](super).
#[derive(Clone, Debug)]
pub struct HttpConnector<C> {
    hop: Hop<C>,
}

hop_connector!(HttpConnector);
#[cfg(feature = "hyper")]
super::uri::uri_connector!(HttpConnector);

impl<C> HttpConnector<C> {
    /// Through the proxy at `proxy`, without authentication.
    #[must_use]
    pub fn new(proxy: Target, inner: C) -> Self {
        Self {
            hop: Hop::new(proxy, Protocol::Http(None), inner),
        }
    }

    /// Authenticates by the scheme Basic (RFC 7617), with the first request: HTTP
    /// proxies do not say beforehand what they want. A user name that holds a colon
    /// is read by the proxy as a shorter one.
    #[must_use]
    pub fn with_credentials(mut self, credentials: &Credentials) -> Self {
        self.hop.way_mut().protocol = Protocol::Http(Some(Authorization::basic(credentials)));
        self
    }
}

/// The value of `Proxy-Authorization`.
#[derive(Clone)]
pub(super) struct Authorization(Arc<str>);

impl Authorization {
    pub(super) fn basic(credentials: &Credentials) -> Self {
        let username = credentials.username.as_bytes();
        let pair = [username, b":", credentials.password.as_bytes()].concat();
        Self(format!("Basic {}", Base64::encode_string(&pair)).into())
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

/// What a proxy said in the place of a success.
#[derive(Debug, thiserror::Error)]
#[error("HTTP status {code} {reason}")]
struct Status {
    code: u16,
    reason: String,
}

impl Status {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    fn is_interim(&self) -> bool {
        (100..200).contains(&self.code)
    }
}

impl From<Status> for UpstreamError {
    fn from(status: Status) -> Self {
        let code = match status.code {
            407 => return Self::new(UpstreamFailure::RefusedUs, status),
            403 => ReplyCode::CONNECTION_NOT_ALLOWED,
            404 | 502 | 503 => ReplyCode::HOST_UNREACHABLE,
            504 => ReplyCode::TTL_EXPIRED,
            _ => ReplyCode::GENERAL_FAILURE,
        };
        Self::refusal(UpstreamFailure::RefusedTarget, code, status)
    }
}

/// The head of a request for `target`.
pub(super) fn head(target: &Target, authorization: Option<&Authorization>) -> String {
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(Authorization(value)) = authorization {
        head.extend(["Proxy-Authorization: ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head
}

/// Reads the answer to a request, and nothing behind its head.
pub(super) async fn granted<Io: Stream>(io: &mut Io) -> Result<(), UpstreamError> {
    loop {
        let status = read_head(io).await?;
        if status.is_success() {
            return Ok(());
        }
        // RFC 9110 section 15.2: whether or not they were expected.
        if !status.is_interim() {
            return Err(status.into());
        }
    }
}

#[cfg(test)]
mod tests;
