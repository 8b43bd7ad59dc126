//! Limits, where they bite and where they do not, and what clients hear.

#![expect(clippy::unwrap_used, reason = "a test")]

mod live;
mod placement;
mod proxy;
mod rate;
