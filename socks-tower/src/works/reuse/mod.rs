//! Connections to origins that are used again, for [plain HTTP](crate::stages::http_forward).
//!
//! It comes with the feature `http-forward`.
//!
//! [`ReuseLayer`] stands around what dials, a [`TcpConnector`](crate::TcpConnector), and
//! within all that decides. A request that [`HttpForwardLayer`](crate::HttpForwardLayer)
//! hands on may find there the connection that the same client's last one left, if that
//! leads to an address that the request is permitted.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthorizeLayer, ConnectLayer, HttpConnectLayer, HttpForwardLayer, Relay, ResolveLayer,
//!     ReuseLayer, Rules, SystemResolver, TcpConnector,
//! };
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .layer(ReuseLayer::new())
//!     .service(TcpConnector::new());
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(HttpForwardLayer::new(HttpConnectLayer::open()))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # What is asked anew
//!
//! Everything outside of this layer: names are looked up, rules judge, limits count, for
//! each request as for the first. What stands inside it is asked about new connections
//! alone, and a guard that it put into its [`Outbound`](crate::Outbound) is held for as
//! long as the connection lives.
//!
//! # Which connections
//!
//! A client's connection holds one to an origin at a time, for a request with the same
//! target, credentials and identity. One that has ended meanwhile, or on which
//! something came that nobody asked for, is dropped at once. One that leads elsewhere
//! than to an address of the target, to another proxy say, is not used again, and
//! neither is one that is no plain TCP.
//!
//! # What it costs
//!
//! Other sessions, a look into their extensions: their connection stays what it was, in
//! a [`BoxStream`](crate::BoxStream). A plain request's is in a box.

mod layer;
mod lease;
mod service;

pub use layer::ReuseLayer;
pub(crate) use lease::{Idle, Lease};
pub use service::{Reuse, ReuseFuture};
