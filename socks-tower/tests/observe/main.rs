//! What is told of sessions: to observers, and in the log.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, in its helpers too"
)]

mod access_log;
mod calls;
mod events;
mod metrics;
mod outcomes;
mod proxy;
mod udp;
