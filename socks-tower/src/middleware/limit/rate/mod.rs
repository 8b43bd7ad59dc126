//! How many new connections there may be in a time.

mod buckets;
mod clock;
mod layer;
mod quota;
mod service;

#[cfg(feature = "redis")]
pub(in crate::middleware) use buckets::Buckets;
pub use layer::RateLimitLayer;
pub use quota::Rate;
pub use service::{RateLimit, RateLimitFuture};
