//! What stands before the first stage: it takes an
//! [`Accepted`](crate::Accepted) and hands on another.

#[cfg(feature = "proxy-protocol")]
pub mod proxy_protocol;
#[cfg(feature = "tls")]
pub mod tls;
