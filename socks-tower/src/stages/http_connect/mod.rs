//! Another first stage: HTTP CONNECT (RFC 9110 section 9.3.6), alone or on the
//! same port as SOCKS.
//!
//! It comes with the feature `http-connect`.
//!
//! [`HttpConnectLayer`] takes an [`Accepted`](crate::Accepted) and hands on the
//! same [`Requested`](crate::Requested) as
//! [`AuthenticateLayer`](crate::AuthenticateLayer) does: it stands in the place
//! of both SOCKS stages, or, by [`or`](HttpConnectLayer::or), beside them. The
//! stages behind it know no difference. What speaks TLS or the PROXY protocol
//! stands before it.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, HttpConnectLayer, Relay,
//!     ResolveLayer, Rules, SystemResolver, TcpConnector, Users,
//! };
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//!
//! // The same users for both: each way in is guarded by itself.
//! let users = Users::new().with("joe", "secret")?;
//! let socks = (HandshakeLayer::new(), AuthenticateLayer::password(users.clone()));
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(HttpConnectLayer::password(users).or(socks))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl tower::Service<socks_tower::Accepted<tokio::net::TcpStream>>) {}
//! # check(proxy);
//! # Ok::<(), socks_tower::UsersError>(())
//! ```
//!
//! # Which clients come here
//!
//! With `or`, those whose first byte is an upper-case ASCII letter, as every
//! method of HTTP begins with. No version of SOCKS, and not TLS, does. Nothing
//! is read twice and nothing is lost: what came with the first byte is handed
//! on.
//!
//! # Replies
//!
//! Success is `200 Connection established`. What fails behind this stage is
//! told by the code that a SOCKS client would hear:
//!
//! | reply code | status |
//! |---|---|
//! | 02 connection not allowed by ruleset | 403 Forbidden |
//! | 06 TTL expired | 504 Gateway Timeout |
//! | 07 command not supported | 501 Not Implemented |
//! | 01 where a limit was reached | 429 Too Many Requests |
//! | any other | 502 Bad Gateway |
//!
//! `Retry-After` is there where it is known: where a rate was reached, and of any
//! error by [`Error::with_retry_after`](crate::Error::with_retry_after). Other
//! statuses, fields and words are
//! [`with_response`](HttpConnectLayer::with_response)'s.
//!
//! This stage itself answers:
//!
//! | what is wrong | status |
//! |---|---|
//! | not HTTP, a malformed head, no `HOST:PORT`, a body | 400 Bad Request |
//! | another method; `GET http://…` is for [`http_forward`](crate::stages::http_forward) to serve | 405 Method Not Allowed |
//! | no or wrong credentials; a verifier that broke | 407 Proxy Authentication Required |
//! | the deadline | 408 Request Timeout |
//! | a head of more than 64 KiB or 64 fields | 431 Request Header Fields Too Large |
//! | a head of more than 8 KiB, and too many such at a time | 503 Service Unavailable |
//! | another version than 1.0 and 1.1 | 505 HTTP Version Not Supported |
//!
//! Every refusal has a line of text as its body, unless it answers a HEAD, and
//! closes the connection.
//!
//! # Strictness
//!
//! What follows the head belongs to the target, so there must be one reading of
//! where the head ends. Lines end in CR LF, a CONNECT with `Transfer-Encoding`
//! or a `Content-Length` other than 0 is refused, and so is one with two
//! `Proxy-Authorization` fields. `Host` is not looked at.
//!
//! # What it costs
//!
//! An allocation for the stage, and one for the head's bytes, of which there are
//! 8 KiB and a read at most as a rule. Up to 256 heads at a time may be longer,
//! for tokens of Kerberos and NTLM: 64 KiB, for which twice as much is allocated at
//! most, so 32 MiB for a layer and all its clones. The head is parsed again for
//! each read that ends a line, so once if it comes at once.
//!
//! With `or`, every connection, SOCKS too, costs one more allocation, for a
//! stage that waits for the first byte. What comes with that byte is handed on,
//! so it is no system call more.

mod by_protocol;
pub(super) mod head;
mod layer;
pub(super) mod service;
pub(super) mod words;

pub use by_protocol::{ByProtocol, ByProtocolFuture, ByProtocolLayer};
/// What [`HttpConnectLayer::with_response`] answers in. It is part of this module's
/// interface: another version comes with a new version of this crate.
pub use http;
pub use layer::HttpConnectLayer;
pub use service::{HttpConnect, HttpConnectFuture};
#[cfg(feature = "test-util")]
pub(crate) use words::Http;
