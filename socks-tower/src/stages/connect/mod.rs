//! The third stage: reaches the target, and replies.
//!
//! [`ConnectLayer`] takes a [`Requested`](crate::Requested), calls a connector,
//! tells the client how it went, and hands on a
//! [`Connected`](crate::Connected). It stands behind
//! [`AuthenticateLayer`](crate::AuthenticateLayer). It serves CONNECT;
//! [`ByCommand`](crate::ByCommand) in front of it serves other commands too.
//!
//! The connector is any `Service<Request>` that answers with a stream: the
//! [`TcpConnector`](crate::TcpConnector) behind [`ResolveLayer`](crate::ResolveLayer), another
//! proxy, a stream in memory. It never sees the client's socket, so any
//! middleware can wrap it.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{AuthorizeLayer, ConnectLayer, ResolveLayer, Rules, SystemResolver, TcpConnector};
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .concurrency_limit(1000)
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//!
//! let layer = ConnectLayer::new(connector).with_timeout(Duration::from_secs(10));
//! ```
//!
//! The layer's time-out counts the wait for a turn too, which tower's `Timeout`
//! does not: a connector that it wraps may be waited for without end.
//!
//! # Streams of several types
//!
//! A connector has one type of answer. One that reaches some targets by TCP and
//! others by something else answers with an [`Outbound`](crate::Outbound) that is
//! [`boxed`](crate::Outbound::boxed): what is plain TCP is still found within, so its
//! bytes are spliced, and the client hears its local address. A `Box<dyn Stream>`
//! hides both.
//!
//! ```
//! use socks_tower::{ConnectLayer, DialError, Outbound, Request, Target};
//! use tokio::net::{TcpStream, UnixStream};
//! use tower::service_fn;
//!
//! let connector = service_fn(async |request: Request<Target>| {
//!     // As a `DialError`, so that the client hears why it failed.
//!     if request.target.port == 5432 {
//!         let io = UnixStream::connect("/run/postgresql/.s.PGSQL.5432").await?;
//!         Ok::<_, DialError>(Outbound::new(io).boxed())
//!     } else {
//!         Ok(Outbound::new(TcpStream::connect("192.0.2.1:80").await?).boxed())
//!     }
//! });
//! # fn check(_: &impl socks_tower::Connector<Request>) {}
//! # check(&connector);
//! let layer = ConnectLayer::new(connector);
//! ```
//!
//! # Replies
//!
//! Success carries the local address of the stream to the target as BND.ADDR, or
//! 0.0.0.0:0 if it has none (a Unix socket's, say).
//! [`Error::reply`](crate::Error::reply) says what a failure is called, and
//! [`HandshakeLayer::with_reply`](crate::HandshakeLayer::with_reply) has the last
//! word. Of a connector of your own, an `io::Error` is told to the client only
//! within a [`DialError`](crate::DialError): any other one is 01.
//!
//! While the connector works the client is watched: if it resets the connection, the
//! work is dropped. What it sends early goes to the target, and the end of its
//! stream too.

mod layer;
mod service;

pub use layer::ConnectLayer;
pub use service::{Connect, ConnectFuture};
