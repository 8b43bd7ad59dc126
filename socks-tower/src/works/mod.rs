//! The works: plain tower services that never see the client's socket.
//!
//! They stand around and at the end of a connector, and serve CONNECT, BIND,
//! the look-ups and each new destination of a UDP association alike.

pub mod authorize;
pub mod egress;
#[cfg(feature = "upstream-pool")]
pub mod pool;
pub mod resolve;
#[cfg(feature = "http-forward")]
pub mod reuse;
#[cfg(feature = "routes")]
pub mod routes;
pub mod tcp;
pub mod upstream;
