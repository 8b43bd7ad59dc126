//! `DnsResolver` before a server that does whatever servers do, and what clients hear.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod answers;
#[cfg(feature = "metrics")]
mod counts;
mod crowd;
mod proxy;
mod server;
mod servers;
