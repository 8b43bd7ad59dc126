//! State that nodes share, on a real Redis.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod limits;
mod link;
mod lockouts;
mod outage;
mod quotas;
mod sessions;

use std::time::Duration;

use socks_tests::patiently;
use socks_tower::middleware::Redis;
use tokio::time::sleep;

/// Waits until it is so, however long that takes.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    patiently(what, reached).await;
}

async fn until_up(redis: &Redis, is_up: bool) {
    until("what Redis is to be", async || {
        redis.numbers().is_up == is_up
    })
    .await;
}
