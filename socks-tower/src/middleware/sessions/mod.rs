//! Lists the live sessions, and ends one.
//!
//! It comes with the feature `sessions`.
//!
//! [`RegisterLayer`] enters each session into a [`Sessions`], where it stays
//! until it ends: who it is, where it goes, since when, and how many bytes it
//! has carried. For whoever looks after a proxy.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, Direction, HandshakeLayer, NoAuth, Relay,
//!     middleware::{RegisterLayer, Sessions},
//! };
//! use tower::ServiceBuilder;
//!
//! let sessions = Sessions::new();
//!
//! # let connector = tower::service_fn(|_: socks_tower::Request| async { Ok::<_, std::io::Error>(tokio::io::duplex(1).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .layer(RegisterLayer::new(sessions.clone()))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//!
//! for live in sessions.list() {
//!     let who = live.session().client_addr;
//!     let received = live.bytes(Direction::Down);
//!     println!("{}: {who:?} to {}: {received} bytes", live.id(), live.target());
//!     if live.age() > Duration::from_secs(24 * 60 * 60) {
//!         live.end();
//!     }
//! }
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # Where it stands
//!
//! Between the stages, behind
//! [`AuthenticateLayer`](crate::AuthenticateLayer), where it is known what the
//! client wants, and in front of [`ConnectLayer`](crate::ConnectLayer) or
//! [`ByCommand`](crate::ByCommand). A session is listed while it connects, and
//! until its tunnel, whatever its command, has ended.
//!
//! # Revoking a user
//!
//! [`Sessions::end_where`] ends those that live, and a [`Ban`] keeps others
//! from coming: also those that were still negotiating, which no list has.
//! These hear 02, or what [`HandshakeLayer::with_reply`](crate::HandshakeLayer::with_reply)
//! says.
//!
//! # A fleet
//!
//! With the feature `redis`, `FleetSessions::new(&redis, sessions)` publishes a node's
//! list every 2 seconds: how many sessions there are, and the oldest 1,000 of them. Its
//! `list` has those of all nodes, and `end` ends one of any node, by the node's name there
//! and the session's number. The list of a node that died is gone 10 seconds later, and
//! while Redis does not answer there is none: each node goes on with its own.
//!
//! Users and targets are clients' words: they are read as they were written, whatever is
//! in them, and print escaped.
//!
//! # What an ended session sees
//!
//! Both of its connections close at once, without a reply if it has had none.
//! Its outcome is an [`Error`](crate::Error) of kind
//! [`ErrorKind::Ended`](crate::ErrorKind::Ended).
//!
//! # What it costs
//!
//! A lock as a session begins and another as it ends, and some 500 bytes
//! meanwhile, 88 of them in its task. There are as many entries as live
//! sessions, which a limit bounds. A list holds the lock for as long as it
//! takes to count a reference for each session, and no session waits for
//! whoever reads the list. Bytes are counted by a [`Meter`](crate::Meter), once
//! for each wake-up of the relay; splicing goes on.

mod layer;
mod registry;
mod service;

pub use layer::RegisterLayer;
pub use registry::{Ban, LiveSession, Sessions};
pub use service::{Register, RegisterFuture};
