//! How to: pages about one task each, with programs that compile.
//!
//! They take the features `auth-cache`, `dns-over-tls`, `http-connect`, `ident`, `lockout`,
//! `routes` and `upstream-pool`.

pub mod names;
pub mod own_authentication;
pub mod through_another_proxy;
