//! Limits that all nodes count together.

mod by;
mod layer;
mod question;
mod service;
mod tally;

pub use by::By;
pub use layer::RedisLimitsLayer;
pub use service::{RedisLimits, RedisLimitsFuture};
