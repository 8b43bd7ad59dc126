//! Tells what happens to sessions: stage by stage, and in one summary at the
//! end of each.
//!
//! An [`Observer`] is told; [`ObserveLayer`] tells it. What a session's stages
//! learn, who the client is, what it wants, how long each stage took, stands in
//! a [`Record`]; at the end there is a [`Summary`], with what was carried and
//! the [`Outcome`]. There is one for every connection that was accepted,
//! whatever became of it: one that is refused, breaks the protocol, is cut by
//! the shutdown, ended from outside, or that panics.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use socks_tower::{
//!     Socks,
//!     middleware::{ObserveLayer, Observer, observe::{Record, StageReport, Summary}},
//! };
//! use tower::ServiceBuilder;
//!
//! /// Complains of what is slow, and of what failed.
//! struct Complain;
//!
//! impl Observer for Complain {
//!     fn stage(&self, record: &Record, report: &StageReport) {
//!         if report.took > Duration::from_secs(1) {
//!             tracing::warn!(?record.target, ?report.took, "{} is slow", report.stage);
//!         }
//!     }
//!
//!     fn ended(&self, summary: &Summary<'_>) {
//!         if let Some(failure) = summary.outcome.failure() {
//!             tracing::warn!(?summary.record.client_addr, "{failure}");
//!         }
//!     }
//! }
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(ObserveLayer::new(Complain))
//!     .service(Socks::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! Observers are called in the session's task, and so must not block. Nor must
//! what the program does with its events: a subscriber that writes to a pipe which
//! nobody reads, or to a slow disk, holds up all sessions of the thread. Give it a
//! bounded queue that drops, as `tracing_appender::non_blocking` is.
//!
//! # Where it stands
//!
//! Outermost, around [`HandshakeLayer`](crate::HandshakeLayer) and whatever
//! stands in front of that: what is further out, it does not see. Several may
//! stand one in the other, and each observer is told all. Clients hear nothing of
//! it.
//!
//! # What the server tells by itself
//!
//! [`Server`](crate::Server) opens a [`tracing`] span for each connection,
//! `session`, at the level info. In it stand, at the level debug, spans
//! `handshake`, `authenticate`, `connect`, `resolve`, `authorize`, `bind` and
//! `udp_associate`, so that an event within says which stage it comes from. A
//! tunnel that carries bytes has none of these in its `session`.
//!
//! When a session ends, it emits one event at the level info, with the target
//! `socks::access`. It stands outside of the session's span, and says all by itself.
//! Its fields, left out where nothing is known:
//!
//! | field | what |
//! |---|---|
//! | `session.id` | [`Session::id`](crate::Session::id), which the span has, too |
//! | `network.peer.address`, `.port` | the other end of the socket, if that is not the client |
//! | `client.address`, `.port` | the client, by a PROXY header if one was believed |
//! | `network.local.address`, `.port` | where it reached us |
//! | `network.protocol.name`, `.version` | `socks` and `4`, `4a`, `5`; `http` and `1.1` |
//! | `user.name` | who it was shown to be |
//! | `user.claimed` | the username that it gave and that was not believed |
//! | `socks.method` | by what it has shown that: `none`, `password`, `certificate` |
//! | `socks.user_id` | who a SOCKS4 client says it is, which nothing backs |
//! | `socks.command` | `connect`, `bind`, `udp associate` |
//! | `server.address`, `.port` | the target, as the client named it |
//! | `socks.upstream.address`, `.port` | the other end of the tunnel, if the target does not say it |
//! | `socks.reply` | what the client was told last, RFC 1928's code |
//! | `bytes_up`, `bytes_down` | from and to the client, once its request is granted |
//! | `datagrams_up`, `_down`, `_dropped` | of a UDP association |
//! | `seconds` | from accept to the end |
//! | `end` | why the tunnel ended: [`End::as_str`](crate::End::as_str) |
//! | `error.type` | or else what failed: [`ErrorKind::as_str`](crate::ErrorKind::as_str), `cut` or `panicked` |
//! | `error` | the error and its causes |
//!
//! What clients choose goes as text: each form of a log escapes it in its own
//! way, and a parser of JSON gives it back as it was.
//!
//! # What it costs
//!
//! Where nobody observes, and nobody wants that event, a look at a null
//! pointer. Else some 700 bytes and four allocations a session for each
//! observer, one more for each stage, and two additions for each wake-up of
//! the relay that moved something; splicing goes on. A UDP association also
//! takes the record's lock for each wake-up that moved or dropped a datagram.

mod layer;
mod service;

pub use layer::ObserveLayer;
pub use service::{Observe, ObserveFuture};

pub use crate::session::watch::{
    CarriedReport, Failure, Observer, Outcome, Record, StageKind, StageReport, Summary,
};
