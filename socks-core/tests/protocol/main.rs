//! The protocol as exact bytes, as sessions between the two machines, and as
//! properties that hold for any bytes at all.
//!
//! The bodies of the properties in `properties/` are also what `fuzz/` runs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by them, in its helpers too"
)]

mod bytes;
mod client;
mod credentials;
mod gssapi;
mod properties;
mod proxy_protocol;
mod round_trips;
mod server;
mod sessions;
mod v4;
mod v5;

use socks_core::{Host, Target};

/// Reads a target; what is not meant to be one fails the test.
fn target(target: &str) -> Target {
    target.parse().unwrap()
}

/// `name` as the name that it is, with a port.
fn named(name: &str, port: u16) -> Target {
    Target::new(Host::Name(name.parse().unwrap()), port)
}
