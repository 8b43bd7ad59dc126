//! The last stage: carries bytes both ways until the session ends.
//!
//! [`Relay`] takes a [`Connected`](crate::Connected): the client has its reply,
//! and from here on nothing is left of SOCKS. It ends with a [`Transfer`](crate::Transfer),
//! which says what was carried and why it ended.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use socks_tower::Relay;
//!
//! let relay = Relay::new()
//!     .with_idle_timeout(Duration::from_secs(10 * 60))
//!     .with_lifetime(Duration::from_secs(24 * 60 * 60));
//! # let _ = relay;
//! ```
//!
//! # How a tunnel ends
//!
//! * The end of a stream (FIN) is passed on in each direction by itself, so
//!   that a half-closed connection works as it would without a proxy. The
//!   tunnel ends when both directions have.
//! * A reset is passed on as a reset. What came before it is delivered first,
//!   if the other side takes it within a second. While that side takes nothing,
//!   nothing is read, and a reset is looked for twice a second. Where the other side is not a
//!   plain socket (TLS), its stream is dropped without an orderly end instead.
//! * A tunnel that is cut resets both sides, so that half of a transfer does not
//!   look like the whole: one whose session is ended from outside (the server's
//!   shutdown, [`Sessions`](crate::middleware::Sessions)), whose lifetime or quota
//!   is used up, that a [`Tap`](crate::Tap) ends, or whose future is dropped.
//! * One in which nothing moves for too long is closed in order, or reset if a side
//!   has not taken all that was sent to it. The idle timeout (2 hours and 4
//!   minutes unless set, from RFC 5382) counts from the last byte either way. The
//!   half-closed timeout (5 minutes) counts likewise, once one side is done. A
//!   process that slept meanwhile reads first what has come. The lifetime (none)
//!   counts from the start.
//!
//! TCP's urgent mark is not passed on. The byte under it is, in its place, where the
//! client's socket comes from [`TcpAcceptor::listen`](crate::TcpAcceptor::listen). If
//! nothing follows, it arrives half a second behind what was before it.
//!
//! # What it costs
//!
//! A tunnel in which nothing waits holds no buffer: a thread reads into one
//! buffer for all its tunnels, and keeps only what the other side does not
//! take, at most 64 KiB a direction. A wake-up that moves something reads the
//! clock once, and sets no timer.
//!
//! On Linux, with the feature `splice`, a read that fills the buffer (64 KiB) sends the
//! flow over to `splice(2)` if both sides are plain sockets
//! ([`Inbound::tcp`](crate::Inbound::tcp) and [`Outbound::tcp`](crate::Outbound::tcp) say which): what follows goes through a pipe in the
//! kernel, at a third of the CPU. A stream that is wrapped loses that. Pipes of
//! up to 1 MiB are lent from a pool of each thread for as long as there is
//! something in them, and stay open in it. One is closed rather than reused if its
//! tunnel ends before all is out. There are at most 128 in a process; an ordinary user is
//! granted about 64 (`fs.pipe-user-pages-soft`). Without one, a flow copies, and
//! so do all from the moment that the system refuses to splice: then what is in a
//! pipe is copied out, and a warning is logged, once.
//!
//! The session's [`Policy`](crate::Policy) is carried out without getting in
//! the way of that: meters hear of each wake-up once, and throttles say how much
//! a read or a splice may bring. A flow that they hold back reads nothing, so
//! that its sender is held back in turn, and is not idle. Taps are shown the first
//! bytes, which are copied for that.
//!
//! Under a [`ThreadedServer`](crate::ThreadedServer), a tunnel that carries bulk moves to
//! a thread for such, and is spliced from there on. Its session waits where it was;
//! meters, throttles and taps are called there.
//!
//! `splice` can raise SIGPIPE, which Rust programs ignore unless they choose
//! otherwise. In one that does, flows copy, and the log says so once: what is
//! done with the signal is looked up in `/proc` before the first splice.
//! [`Relay::with_splice`] turns splicing off where the feature is on.

mod flow;
mod future;
mod lane;
mod moved;
mod sent;
mod service;
mod timeouts;
mod tunnel;

#[cfg(test)]
mod tests;

pub use future::RelayFuture;
pub use service::Relay;
