//! Locks out clients that fail to authenticate again and again.
//!
//! [`LockoutLayer`] stands around a verifier, and counts how often it says no
//! to a client (IPv6 by /64). After 5 failures the client is locked out for a
//! minute: it is refused without asking the verifier, in the method's own
//! words. Each failure after that locks it out for twice as long, up to an
//! hour. A success clears the count; so do 10 minutes without a failure.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, HandshakeLayer, Relay, Request, Users,
//!     middleware::LockoutLayer,
//! };
//! use tower::{Layer, ServiceBuilder};
//!
//! let lockout = LockoutLayer::new()
//!     .with_max_failures(3_u32.try_into()?)
//!     .with_first_lock(Duration::from_secs(30))
//!     .with_longest_lock(Duration::from_secs(24 * 60 * 60));
//!
//! let users = Users::new().with("joe", "secret")?;
//! # let connector = tower::service_fn(|_: Request| async { Ok::<_, std::io::Error>(tokio::io::duplex(1).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(lockout.gate()) // hangs up on those that are locked out
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::password(lockout.layer(users)))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where it stands
//!
//! Around the verifier, outside of whatever else is around that. Several
//! verifiers, that of SOCKS4's user ids too, count together if the same layer
//! or a clone of it is around each. A client that is locked out hears what any
//! refused client does: `01 01`, SOCKS4: 91.
//!
//! The [`gate`](LockoutLayer::gate) is for between the stages, best before the
//! handshake: a client that is locked out sees a close, at the least cost. It
//! is not needed; without it, locked-out clients may still use what needs no
//! verifier.
//!
//! # What counts as a failure
//!
//! Every error of the verifier that does not look like the verifier's own
//! trouble: I/O errors, time-outs and overload, anywhere among the causes, do
//! not count, or an outage of a user database would lock everybody out.
//! [`LockoutLayer::with_counted`] sets another rule.
//!
//! # What it does not do
//!
//! - Attempts that are with the verifier already when their client is locked
//!   out are let finish. A limit on how many a client may have at once bounds
//!   them.
//! - Clients behind one NAT share their failures, and their successes. One that
//!   has a password of its own can clear its failures with that as it goes.
//! - Clients without an address (Unix sockets) are never locked out.
//!
//! # Cost and bounds
//!
//! A short lock before and after an attempt, one at the gate. 65,536 clients
//! at most, unless set, about a hundred bytes each: only those that failed
//! lately are in the table. When it is full of these, a newcomer takes the
//! place of one, of a few, that would be forgotten first: others are not
//! refused for it.

mod layer;
mod record;
mod service;

pub use layer::{LockoutGateLayer, LockoutLayer};
pub use record::LockedOut;
pub use service::{Lockout, LockoutFuture, LockoutGate, LockoutGateFuture};
