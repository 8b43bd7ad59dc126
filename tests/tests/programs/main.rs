//! Programs that people use SOCKS proxies with, through `socks-proxy`.
//!
//! They must be installed, so these tests are ignored unless asked for:
//! `cargo test -p socks-tests -- --ignored`. Then a missing one is a failure.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod curl;
mod ncat;
mod pysocks;

/// The name and password of [`with_password`], in the order of `NAME:PASSWORD`.
const LOGIN: &str = "joe:s3cret@!";

use socks_tests::child::Child;

/// A proxy that lets everybody in, everywhere.
async fn open() -> Child {
    Child::start(&["--allow-private"]).await
}

/// A proxy that lets [`LOGIN`] in, everywhere.
async fn with_password() -> Child {
    Child::start(&["--allow-private", "--user", LOGIN]).await
}

/// A proxy as it comes: it reaches nothing that is special, like loopback.
async fn strict() -> Child {
    Child::start(&[]).await
}
