//! Plain HTTP on the connections of HTTP CONNECT: what `http_proxy` asks for.
//!
//! It comes with the feature `http-forward`, and stands in the place of
//! [`HttpConnectLayer`](crate::HttpConnectLayer), which it is made of.
//!
//! A client that wants an `http://` URL asks its proxy for it by the whole URL, `GET
//! http://example.com/ HTTP/1.1`, and needs no tunnel (RFC 9112 section 3.2.2).
//! [`HttpForwardLayer`] serves such requests besides CONNECT, one after the other on
//! connections that are kept.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, HttpConnectLayer,
//!     HttpForwardLayer, Relay, ResolveLayer, ReuseLayer, Rules, SystemResolver, TcpConnector,
//!     Users,
//! };
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     // A connection to an origin serves the next request, too.
//!     .layer(ReuseLayer::new())
//!     .service(TcpConnector::new());
//!
//! let users = Users::new().with("joe", "secret")?;
//! let socks = (HandshakeLayer::new(), AuthenticateLayer::password(users.clone()));
//! let http = HttpForwardLayer::new(HttpConnectLayer::password(users));
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(http.or(socks))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), socks_tower::UsersError>(())
//! ```
//!
//! # A request is a tunnel
//!
//! For each request this stage hands on a [`Requested`](crate::Requested), as CONNECT
//! does: a CONNECT to the host and port of its URL. So what stands behind it, limits,
//! quotas, taps, the list of sessions, your own layers, and the works in the end, is
//! asked for each request anew, and the relay carries its bytes under the session's
//! [`Policy`](crate::Policy): heads and bodies, as the origin's socket has them. At the other
//! end of that tunnel [hyper](https://docs.rs/hyper) speaks to the origin. A connection
//! that is kept is no way to another target, nor past a rule that has changed.
//!
//! - The verifier is asked for each request. One without the right credentials hears
//!   407, and its connection stays.
//! - Each request is a session, with a line in the access log, a count and an entry in
//!   the list, from its head to the end of its answer, whether it is served or not. The
//!   first is that of the client's connection; each other has a number of its own, and is
//!   observed by whoever observes the first. One begins when the one before is over, which
//!   is waited for a second at most: a live limit behind this stage counts requests under
//!   way, one before it connections.
//! - A connection to an origin serves the next request too, if that is for the same
//!   target with the same credentials, and a [`ReuseLayer`](crate::ReuseLayer) stands
//!   around what dials. Without one, each request makes a connection.
//! - If it turns out to have ended, a request is sent again, once, on a new one: if none
//!   of it was sent, or if it has no body, its method is idempotent (RFC 9110 section
//!   9.2.2), and nothing came back. That is another session.
//!
//! # What passes
//!
//! Bodies are streamed both ways, and what is not taken is not read: some 0.3 MiB of a message are
//! here at most, however long it is. Chunked bodies stay chunked; trailers pass where
//! `Trailer` and `TE` name them; a client of HTTP/1.0 reads to the end instead.
//! `100 Continue` comes when the origin says so, or after a second; other interim
//! answers pass to clients of HTTP/1.1. A connection may be upgraded (RFC 9110 section
//! 7.8), for WebSocket, but not to h2c.
//!
//! `Host` comes from the URL. `Connection` and what it names, and the other fields of a
//! hop, pass neither way. Nothing is added: `Via` and `X-Forwarded-For` only if
//! [asked](HttpForwardLayer::with_via) [for](HttpForwardLayer::with_forwarded_for).
//! `OPTIONS http://host`, without a path, asks the origin for `*`. OPTIONS and TRACE go as
//! far as `Max-Forwards` says: at 0 they are answered here (RFC 9110 section 7.6.2), TRACE
//! without credentials and cookies.
//!
//! An origin that breaks off within a body leaves the client's answer without its end:
//! the connection is reset. A client that is done sending gets its answer.
//!
//! # Replies
//!
//! What fails behind this stage is told in
//! [HTTP CONNECT's words](crate::stages::http_connect#replies), by a limit between the
//! stages too (429), and the connection stays. This stage itself answers:
//!
//! | what is wrong | status |
//! |---|---|
//! | no `http://` URL: a page says what this is | 400 Bad Request |
//! | a user, a password or a fragment in the URL, or a port that is none | 400 Bad Request |
//! | HTTP/1.1 without `Host`, or any with two | 400 Bad Request |
//! | OPTIONS or TRACE with a `Max-Forwards` that is no number | 400 Bad Request |
//! | a request that has two readings | 400 Bad Request |
//! | no or wrong credentials; a verifier that broke, or took too long | 407 Proxy Authentication Required |
//! | a head that takes too long | 408 Request Timeout |
//! | a head of more than 64 KiB or 100 fields | 431 Request Header Fields Too Large |
//! | an origin that hangs up, or whose answer has two readings | 502 Bad Gateway |
//! | a head of more than 8 KiB, and too many such at a time | 503 Service Unavailable |
//! | another version than 1.0 and 1.1 | 505 HTTP Version Not Supported |
//!
//! All but 407 and 502 close the connection.
//!
//! # Strictness
//!
//! Who finds another end of a message than its reader does smuggles a second one past
//! it. So heads and chunks are read before hyper reads them, in both directions, and
//! refused if they could be read in two ways: a length beside a coding, two lengths or a
//! list, anything but digits in one, a coding other than `chunked`, once, in HTTP/1.1;
//! lines that do not end in CR LF or go on in the next, NUL, a space before a colon;
//! chunks with anything but a size and visible extensions; bytes behind an answer that
//! has no body. What an origin sends unasked ends its connection.
//!
//! # Clocks
//!
//! A head has the time that [`HttpConnectLayer::with_timeout`](crate::HttpConnectLayer::with_timeout)
//! gives, from accept or from its first byte. Between two requests a connection may be idle for
//! [65 seconds](HttpForwardLayer::with_idle_timeout), or until it is
//! [told to end](HttpForwardLayer::with_end). While a request is served, the
//! relay's clocks count.
//!
//! # What it costs
//!
//! With [`or`](HttpForwardLayer::or), CONNECT and SOCKS cost what they do without this
//! layer. Alone, a CONNECT costs an allocation more, to wait for its first bytes. A plain
//! request is a session with all that belongs to one, is copied through memory twice on
//! its way, and is not spliced.

mod body;
mod exchange;
mod fields;
mod here;
mod layer;
mod pipe;
mod service;
mod switch;
mod tunnel;
mod wire;

pub use layer::HttpForwardLayer;
pub use service::{HttpForward, HttpForwardFuture};

#[cfg(test)]
mod tests;
