//! How much each key may still have.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::clock::{TokioClock, TokioInstant};
use crate::middleware::{limit::LimitKey, table::Table};

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<TokioInstant>>;

/// The buckets of all keys. One that must have filled up again may be dropped.
pub(in crate::middleware) struct Buckets<K> {
    quota: Quota,
    max_keys: usize,
    keys: Mutex<Table<K, OfKey>>,
}

struct OfKey {
    bucket: Arc<Bucket>,
    used: Instant,
}

/// What one key may still have.
pub(in crate::middleware) struct Bucket {
    limiter: Limiter,
    /// Whose turn it is to wait for the next: one that waits wakes up once.
    turn: Semaphore,
}

impl<K: LimitKey> Buckets<K> {
    pub(in crate::middleware) fn new(quota: Quota, max_keys: usize) -> Self {
        Self {
            quota,
            max_keys,
            keys: Mutex::new(Table::new(max_keys)),
        }
    }

    pub(in crate::middleware) fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// None if there is no room for another key.
    pub(in crate::middleware) fn bucket(&self, key: K) -> Option<Arc<Bucket>> {
        let now = Instant::now();
        let filled_in = self.quota.burst_size_replenished_in();
        let idle = |of_key: &OfKey| {
            let filled = now.saturating_duration_since(of_key.used) >= filled_in;
            filled && Arc::strong_count(&of_key.bucket) == 1
        };
        let new = || OfKey {
            bucket: Arc::new(Bucket::new(self.quota)),
            used: now,
        };
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = keys.entry(key, now, idle, new)?;
        of_key.used = now;
        Some(Arc::clone(&of_key.bucket))
    }
}

impl Bucket {
    fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::new(quota, InMemoryState::default(), TokioClock),
            turn: Semaphore::new(1),
        }
    }

    /// Takes one, or says how long until there is one for those who ask now.
    pub(in crate::middleware) fn take(&self) -> Result<(), Duration> {
        self.limiter
            .check()
            .map_err(|until| until.wait_time_from(TokioClock.now()))
    }

    /// As [`take`](Self::take), behind those that wait.
    pub(in crate::middleware) fn take_in_turn(&self) -> Result<(), Duration> {
        match self.turn.try_acquire() {
            Ok(_turn) => self.take(),
            Err(_) => Err(Duration::ZERO),
        }
    }

    /// Takes one when there is one, in order of arrival.
    pub(super) async fn wait(&self) {
        let _turn = self.turn.acquire().await;
        while let Err(wait) = self.take() {
            sleep(wait).await;
        }
    }
}

impl<K> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("quota", &self.quota)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn one_a_second() -> Quota {
        Quota::per_second(NonZeroU32::MIN)
    }

    fn counted<K: LimitKey>(buckets: &Buckets<K>) -> usize {
        buckets.keys.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_keys_leave_the_table_within_its_bound() {
        let buckets = Buckets::new(one_a_second(), 65_536);

        let taken = (0..100_000).filter_map(|key| buckets.bucket(key)?.take().ok());

        assert_eq!(taken.count(), 65_536);
        assert_eq!(counted(&buckets), 65_536);
        assert!(buckets.bucket(7).unwrap().take().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_filled_up_makes_room() {
        let buckets = Buckets::new(one_a_second(), 65_536);
        for key in 0..100_000 {
            buckets.bucket(key);
        }

        advance(SECOND).await;

        assert!(buckets.bucket(99_999).is_some());
        assert_eq!(counted(&buckets), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_come_and_go_are_swept_as_others_come() {
        let buckets = Buckets::new(one_a_second(), 65_536);
        for key in 0..100_000 {
            buckets.bucket(key);
            advance(Duration::from_millis(10)).await;
            assert!(counted(&buckets) <= 256, "{key}");
        }
    }
}
