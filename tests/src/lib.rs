//! What the integration tests stand on: targets to reach, proxies to reach
//! them through, and the programs of others.
//!
//! Everything listens on loopback, at a port that the system chooses, and ends
//! when its handle is dropped. What takes longer than [`PATIENCE`] fails the
//! test that waits for it. Failures panic, with a message for whoever reads the
//! test's output.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test that called it"
)]

pub mod child;
pub mod client;
pub mod content;
pub mod descriptors;
#[cfg(target_os = "linux")]
pub mod keepalive;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod origin;
pub mod program;
pub mod proxy;
pub mod redis;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod wire;

use std::{future::Future, time::Duration};

/// How long a test waits for anything before it gives up: far longer than a
/// busy machine takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `future`, and panics with `what` if it takes longer than
/// [`PATIENCE`].
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}
