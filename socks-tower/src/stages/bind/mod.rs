//! BIND: lets a peer connect to the client, through us.
//!
//! [`BindLayer`] serves the BIND of SOCKS4, SOCKS4a and SOCKS5, for protocols
//! whose server opens a connection of its own, as FTP does in active mode. It
//! listens, tells the client where, waits for the peer that the client expects,
//! tells the client that it has come, and hands on a
//! [`Connected`](crate::Connected): the same relay carries the bytes. It stands
//! behind [`ByCommand`](crate::ByCommand).
//!
//! [`Socks::with_bind`](crate::Socks::with_bind) is the short way to it.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, ConnectLayer, HandshakeLayer,
//!     ListenAddrs, NoAuth, Permit, Relay, ResolveLayer, Rules, SystemResolver, TcpConnector,
//! };
//! use tower::ServiceBuilder;
//!
//! // The same judge says who may be connected to, and who may connect.
//! let judged = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(10))
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()));
//!
//! // A firewall lets these ports through.
//! let listen = ListenAddrs::new().with_ports(40_000..=40_999);
//! let connect = ConnectLayer::new(judged.clone().service(TcpConnector::new()));
//! let bind = BindLayer::new(judged.service(Permit::new())).with_listen_addrs(listen);
//!
//! let commands = ByCommand::new()
//!     .bind(ServiceBuilder::new().layer(bind).service(Relay::new()))
//!     .connect(ServiceBuilder::new().layer(connect).service(Relay::new()));
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .service(commands);
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # Who may come
//!
//! The client names the peer that it expects: DST.ADDR is never an address to
//! listen on. The judge is asked about that peer as about a target of CONNECT, with
//! [`Command::BIND`](crate::Command::BIND) as the command; a name stands for
//! all of its addresses that the judge leaves. Only addresses are compared,
//! ports are not: nobody knows which one the peer will come from.
//!
//! With `0.0.0.0` or `::` the client expects anybody. [`Rules`](crate::Rules)
//! let that pass, and whoever comes is judged then, with the port that it comes
//! from.
//!
//! Somebody else who comes is hung up on. That ends a BIND of SOCKS4, as its
//! specification wants it; SOCKS5's goes on waiting. With the peer, or at the
//! end, the listener is closed.
//!
//! # Where it listens
//!
//! On the address from which this machine reaches the expected peer; for
//! anybody, on the one that the client came to. So a client that is on this
//! machine itself, and expects anybody, gets nobody from elsewhere.
//! [`ListenAddrs`](crate::ListenAddrs) sets it, says what to tell behind a NAT,
//! and limits the ports.
//!
//! # Through another proxy
//!
//! [`BindLayer::through`] has an upstream listen, as a
//! [connector](crate::works::upstream) reaches it. The client is told where that one
//! listens, and the judge is asked about peers as here. The upstream takes one peer alone,
//! and compares it with the one expected: one whom the judge denies ends the BIND of
//! SOCKS5, too.
//!
//! # Replies
//!
//! The first has the address to tell the peer, the second the peer's own.
//! Either may be a refusal instead. If nobody comes within two minutes, or as
//! long as [`BindLayer::with_timeout`] says, it is 06, TTL expired; a peer whose
//! family this machine has no address of is 08, address type not supported; a
//! full range of ports is 01. SOCKS4 says 91 to all of these.
//!
//! The client is watched all the while: if it hangs up or resets the
//! connection, the wait is over.

mod error;
mod layer;
mod peer;
mod service;
mod upstream;

pub use error::BindError;
pub use layer::BindLayer;
pub use service::{Bind, BindFuture};
pub use upstream::{BindThrough, BindThroughLayer};

#[cfg(test)]
mod tests;
