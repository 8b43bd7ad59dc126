//! Who the client is, where a load balancer stands in front: the PROXY
//! protocol, in and out.
//!
//! It comes with the feature `proxy-protocol`.
//!
//! [`ProxyProtocolLayer`] stands first of all, before TLS and the first stage:
//! it takes an [`Accepted`](crate::Accepted) and hands on an `Accepted`.
//! Connections of the senders that it trusts begin with a header of version 1
//! or 2, and the address that this names becomes the session's `client_addr`,
//! which rules, limits, UDP and the log go by.
//!
//! [`SendProxyHeaderLayer`] stands around a connector, and begins each stream
//! that this gives with such a header.
//!
//! # Example
//!
//! ```
//! use socks_tower::{Socks, front::proxy_protocol::ProxyProtocolLayer};
//! use tower::ServiceBuilder;
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(ProxyProtocolLayer::new().with_trusted("192.0.2.0/28".parse()?))
//!     .service(Socks::new());
//! # fn check(_: impl tower::Service<socks_tower::Accepted<tokio::net::TcpStream>>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Whom to believe
//!
//! A receiver must not guess whether there is a header. From a trusted source
//! there must be one: without it, or if it is malformed, the connection is
//! closed. For anyone else the port is as if this layer were not there, and a
//! header is garbage to the first stage. Trust the addresses of the load
//! balancers themselves and no more: whoever is trusted can be anybody.
//!
//! # What a session knows then
//!
//! - `client_addr` is the client's; none if it came to the sender by a Unix
//!   socket. `local_addr` stays the socket's own, where we can be reached.
//! - [`PeerAddr`] in `extensions` is the sender's address, if it is another.
//! - `Arc<`[`Header`]`>` in `extensions` is
//!   the header, with its extensions and where the client connected to.
//!
//! A header that says `LOCAL` or `UNKNOWN`, as health checks do, changes
//! nothing.
//!
//! # The deadline
//!
//! The header has 5 seconds from accept unless set, and never less than 3, as
//! the protocol wants it: a header that was lost is sent again after that.
//! They are part of the time that the first stage gives the negotiation.
//!
//! # Replies
//!
//! None: a load balancer has no words for it. The connection is closed. Where
//! the target does not take the header that it is sent, the dial has failed: the
//! client hears what its I/O error means, mostly 01, general failure (SOCKS4: 91).
//!
//! # What it costs
//!
//! Every connection, a look at each trusted network. Those of trusted senders,
//! an allocation for the stage while it reads, and some that stay with the
//! session, for what is in its `extensions` then. What the client sent behind
//! the header is read with it. A header to an upstream is a write by itself,
//! before the client hears that it is granted.

mod layer;
mod send;
mod service;

pub use layer::ProxyProtocolLayer;
pub use send::{SendProxyHeader, SendProxyHeaderFuture, SendProxyHeaderLayer};
pub use service::{PeerAddr, ProxyProtocol, ProxyProtocolFuture};
/// What lies in the extensions, and what is in it.
#[doc(inline)]
pub use socks_core::proxy_protocol::{
    Addresses, Endpoints, Header, HeaderV1, HeaderV2, ProxyHeaderError, Tlvs,
};
