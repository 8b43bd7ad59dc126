//! The last stage: carries bytes both ways until the session ends.
//!
//! [`Relay`] takes a [`Connected`](crate::Connected): the client has its reply,
//! and from here on nothing is left of SOCKS. It ends with a [`Transfer`],
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
//!   if the other side takes it within a second. Where the other side is not a
//!   plain socket (TLS), its stream is dropped without an orderly end instead.
//! * A timeout closes both sides. The idle timeout (2 hours and 4 minutes
//!   unless set, from RFC 5382) counts from the last byte either way. The
//!   half-closed timeout (5 minutes) counts likewise, once one side is done.
//!   The lifetime (none) counts from the start.
//!
//! # What it costs
//!
//! A tunnel in which nothing waits holds no buffer: a thread reads into one
//! buffer for all its tunnels, and keeps only what the other side does not
//! take, at most 64 KiB a direction. A wake-up that moves something reads the
//! clock once.

mod flow;
mod future;
#[cfg_attr(not(all(feature = "splice", target_os = "linux")), path = "no_pipe.rs")]
mod pipe;
mod scratch;
mod sent;
mod service;
mod timeouts;
mod transfer;
mod tunnel;

#[cfg(test)]
mod tests;

pub use future::RelayFuture;
pub use service::Relay;
pub use transfer::{End, Transfer};
