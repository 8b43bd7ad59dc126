use socks_core::server::Version;

use crate::{
    session::{BoxError, Dialect, Error, ErrorKind, Reply},
    stages::http_connect::Http,
};

/// What clients hear of `error`, if a work fails with it: the reply's code in
/// SOCKS5 and in SOCKS4, and the status in HTTP.
///
/// `kind` says which work: [`ErrorKind::Connect`] a connector, by whatever layers
/// around it, [`ErrorKind::Resolve`] a resolver, [`ErrorKind::Authorize`] an
/// authorizer. An error of a layer around a connector that stands in a
/// [`ResolveLayer`](crate::ResolveLayer) is the connector's. What `with_reply` and
/// `with_response` of the first stages say against that is theirs.
///
/// ```
/// use std::io::ErrorKind::ConnectionRefused;
/// use socks_tower::{DialError, ErrorKind, test_util::replies};
///
/// let error = || DialError::from(ConnectionRefused);
/// assert_eq!(replies(ErrorKind::Connect, error()), [5, 91, 502]);
/// // Whom a rule asked is no target.
/// assert_eq!(replies(ErrorKind::Authorize, error()), [1, 91, 502]);
/// ```
#[must_use]
pub fn replies(kind: ErrorKind, error: impl Into<BoxError>) -> [u16; 3] {
    let error = &Error::of_work(kind, error.into());
    let code = error.reply();
    let said = |dialect: &dyn Dialect| {
        let mut out = Vec::new();
        dialect.encode(&Reply::Refused { code, error }, &mut out);
        out
    };
    let byte = |out: Vec<u8>| out.get(1).copied().unwrap_or_default().into();
    [
        byte(said(&Version::Socks5)),
        byte(said(&Version::Socks4)),
        status(&said(&Http::ours())).unwrap_or_default(),
    ]
}

/// The status of an HTTP response.
pub(super) fn status(response: &[u8]) -> Option<u16> {
    let status = response.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}
