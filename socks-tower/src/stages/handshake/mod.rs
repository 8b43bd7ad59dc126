//! The first stage: hears what the client speaks.
//!
//! [`HandshakeLayer`] reads SOCKS5's greeting, or the whole request of SOCKS4
//! and SOCKS4a, and hands on a [`Greeted`](crate::Greeted). It stands first in
//! a session's stack; what speaks TLS or the PROXY protocol stands before it.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, NoAuth, Relay,
//!     ResolveLayer, Rules, SystemResolver, TcpConnector, Versions,
//! };
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//!
//! let socks5_alone = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new()
//!         .with_versions(Versions::SOCKS5)
//!         .with_timeout(Duration::from_secs(5)))
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl tower::Service<socks_tower::Accepted<tokio::net::TcpStream>>) {}
//! # check(socks5_alone);
//! ```
//!
//! # Replies
//!
//! A client of a version that is not served hears `05 ff`, or SOCKS4's 91.
//! One that speaks HTTP gets a page that says what this is. Others that do not
//! speak SOCKS (TLS, SSH) are hung up on at their first byte.
//!
//! # The deadline
//!
//! One deadline bounds the whole negotiation, from accept to the request,
//! the verifier included: 10 seconds unless set. A client that has not sent
//! its request by then is hung up on.

mod layer;
mod service;

pub use layer::HandshakeLayer;
pub(crate) use service::unexpected;
pub use service::{Handshake, HandshakeFuture};
