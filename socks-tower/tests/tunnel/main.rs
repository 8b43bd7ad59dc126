//! Whole sessions on sockets: what passes, how they end, and who is told.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, in its helpers too"
)]

mod dial;
mod early;
mod ends;
mod listeners;
mod panics;
mod proxy;
mod readiness;
mod refusal;
mod reload;
mod shutdown;
mod speaks;
mod streams;
