use std::sync::Arc;

use tower::timeout::error::Elapsed;

/// Why a pool has no connection, where no upstream of it said why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No upstream is in the pool, or all are out: the client hears 01 at once.
    #[error("no upstream is left")]
    NoneLeft,
    /// The upstream did not connect in its time: the client hears 06.
    #[error("upstream {upstream} did not connect in time")]
    #[non_exhaustive]
    TimedOut {
        /// The upstream's name.
        upstream: Arc<str>,
        /// The time-out.
        source: Elapsed,
    },
}
