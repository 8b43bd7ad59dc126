//! State that nodes share, on a real Redis.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod link;
