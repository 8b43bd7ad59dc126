//! How to: pages about one task each, with programs that compile.
//!
//! They take the features `http-connect`, `routes` and `upstream-pool`.

pub mod through_another_proxy;
