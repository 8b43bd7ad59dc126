//! What a proxy needs besides: limits, logs, counts.
//!
//! Each has a page with an example that runs; the [front
//! page](crate#middleware) says where each stands, and what a client hears of
//! it.

#[cfg(feature = "access-log")]
pub mod access_log;
#[cfg(any(feature = "limit", feature = "lockout"))]
mod admission;
#[cfg(feature = "bandwidth")]
pub mod bandwidth;
#[cfg(feature = "limit")]
pub mod limit;
#[cfg(feature = "lockout")]
pub mod lockout;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod observe;
#[cfg(feature = "quota")]
pub mod quota;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sessions")]
pub mod sessions;
#[cfg(any(feature = "rate-limit", feature = "lockout"))]
mod shows;
#[cfg(any(feature = "bandwidth", feature = "rate-limit", feature = "lockout"))]
mod table;
#[cfg(feature = "tap")]
pub mod tap;

#[cfg(feature = "access-log")]
pub use access_log::AccessLogLayer;
#[cfg(feature = "bandwidth")]
pub use bandwidth::{Bandwidth, BandwidthLayer, ByteRate, DatagramRate};
#[cfg(feature = "limit")]
pub use limit::{Limited, LiveLimit, LiveLimitLayer};
#[cfg(feature = "rate-limit")]
pub use limit::{Rate, RateLimit, RateLimitLayer};
#[cfg(feature = "lockout")]
pub use lockout::{Lockout, LockoutLayer};
#[cfg(feature = "metrics")]
pub use metrics::MetricsLayer;
pub use observe::{Observe, ObserveLayer, Observer};
#[cfg(feature = "quota")]
pub use quota::{MemoryQuota, QuotaKey, QuotaLayer, QuotaStore};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisLimits, RedisLimitsLayer};
#[cfg(feature = "sessions")]
pub use sessions::{Ban, LiveSession, Register, RegisterLayer, Sessions};
#[cfg(any(feature = "rate-limit", feature = "lockout"))]
pub use shows::Shows;
#[cfg(feature = "tap")]
pub use tap::TapLayer;

pub use crate::session::ClientKey;
