//! How to: pages about one task each, with programs that compile.
//!
//! They take the features `dns-over-tls`, `http-connect`, `routes` and `upstream-pool`.

pub mod names;
pub mod through_another_proxy;
