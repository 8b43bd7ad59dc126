//! Limits how many bytes, and how many datagrams, per second a tunnel, a client, a
//! user and all together may move.
//!
//! It comes with the feature `bandwidth`.
//!
//! [`BandwidthLayer`] stands anywhere between the stages, or in front of the first,
//! and so around [`Socks`](crate::Socks) too; behind
//! [`AuthenticateLayer`](crate::AuthenticateLayer) if it is to know users. It
//! leaves its limits in the session's [`Policy`](crate::Policy), and the relays
//! carry them out, so that splicing goes on. It is not for the stack of a work:
//! what a work adds to its copy of the session, the relay never sees.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, HandshakeLayer, Relay, Users,
//!     middleware::{BandwidthLayer, ByteRate},
//! };
//! use tower::ServiceBuilder;
//! # use socks_tower::Request;
//! # use tokio::{io::duplex, net::TcpStream};
//! # use tower::service_fn;
//!
//! let of_user = ByteRate::per_second(10_000_000).with_burst(20_000_000);
//! let of_tunnel = ByteRate::per_second(5_000_000).with_up(1_000_000);
//! let bandwidth = BandwidthLayer::overall(ByteRate::per_second(100_000_000))
//!     .and(BandwidthLayer::per_identity(of_user))
//!     .and(BandwidthLayer::per_tunnel(of_tunnel));
//!
//! # let connector = service_fn(|_: Request| async { Ok::<_, std::io::Error>(duplex(64).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::password(Users::new().with("joe", "secret")?))
//!     .layer(bandwidth)
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl tower::Service<socks_tower::Accepted<TcpStream>>) {}
//! # check(proxy);
//! # Ok::<(), socks_tower::UsersError>(())
//! ```
//!
//! # Which limits, and for whom
//!
//! * To a [`ByteRate`], or to a [`DatagramRate`], which counts the datagrams of UDP
//!   associations whatever their size, and no TCP: small ones cost a proxy as much as
//!   large ones.
//! * Each limit holds for up and for down by themselves. Bytes pass if every
//!   limit lets them: none is charged for what another holds back.
//! * A client is an IPv4 address or an IPv6 network of 64 bits. Clients of whom
//!   nobody knows the address count as one, and so do sessions without an
//!   identity: a layer that stands before authentication is too strict, rather
//!   than without effect.
//! * By what a verifier has left in the session's `extensions`, `by` finds a key, or
//!   chooses: `BandwidthLayer::by(slow, on(Plan::Free)).and(BandwidthLayer::by(fast,
//!   on(Plan::Gold)))`, with `on` as the [page of limits](crate::middleware) has it.
//! * Clones of the layer share their limits. Where each thread builds its own
//!   stack, make the layer once and clone it.
//!
//! # How it limits
//!
//! A limit is a bucket of bytes that fills at its rate, up to its burst. A flow
//! that finds it empty leaves its bytes with the sender, and has its turn when
//! some are there: so tunnels that want more than there is share it evenly, a
//! turn being a hundredth of a second's worth or 16 KiB. One that wants little
//! hardly waits. Over a time, no more passes than the rate allows in it and
//! one burst.
//!
//! A datagram that finds too little is dropped, and counted as
//! [`DropReason::Throttled`](crate::session::DropReason::Throttled). One without
//! payload takes a byte. Of a rate of datagrams each takes one, also one that the system
//! would not send then.
//!
//! Nobody is refused, so there is no reply: a client sees a slow tunnel.
//!
//! # What it costs
//!
//! A read takes and gives back under a lock for each limit; a flow that waits
//! is a timer. The buckets of clients and users are kept until they are full
//! again and unused, and are at most 65,536 each. Should so many be live, a
//! newcomer has a bucket of its own.

mod bucket;
mod layer;
mod limits;
mod rate;
mod service;
mod shaper;
mod table;

pub use layer::BandwidthLayer;
pub use rate::{BandwidthRate, ByteRate, DatagramRate};
pub use service::Bandwidth;
