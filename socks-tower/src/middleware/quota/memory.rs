use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{QuotaKey, QuotaStore};
use crate::session::BoxError;

/// Keys that are remembered.
const MOST: usize = 65_536;

/// A quota that this process counts, and forgets when it ends.
///
/// A period begins with the first session after the one before is over, for all
/// keys at once. What is still leased then may be used in the new one too.
///
/// It remembers 65,536 keys. If there are more, the half that used least is
/// forgotten.
#[derive(Debug)]
pub struct MemoryQuota {
    bytes: u64,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    began: Instant,
    used: HashMap<QuotaKey, u64>,
}

impl MemoryQuota {
    /// So many bytes for each key, up and down together, in each `period`.
    pub fn new(bytes: u64, period: Duration) -> Self {
        let state = State {
            began: Instant::now(),
            used: HashMap::new(),
        };
        Self {
            bytes,
            period,
            state: Mutex::new(state),
        }
    }

    /// Bytes that `key` has left in this period, besides those that its tunnels
    /// have leased.
    pub fn left(&self, key: &QuotaKey) -> u64 {
        let state = self.state();
        let used = state.used.get(key).copied().unwrap_or(0);
        self.bytes.saturating_sub(used)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.saturating_duration_since(state.began) >= self.period {
            state.began = now;
            state.used.clear();
        }
        state
    }
}

impl State {
    /// Makes room for another key.
    fn forget_half(&mut self) {
        let mut used: Vec<u64> = self.used.values().copied().collect();
        let half = used.len() / 2;
        let (_, &mut middle, _) = used.select_nth_unstable(half);
        let mut forgotten = 0;
        self.used.retain(|_, used| {
            let keep = *used > middle || forgotten > half;
            forgotten += usize::from(!keep);
            keep
        });
    }
}

#[async_trait]
impl QuotaStore for MemoryQuota {
    async fn take(&self, key: &QuotaKey, want: u64) -> Result<u64, BoxError> {
        let mut state = self.state();
        if let Some(used) = state.used.get_mut(key) {
            let bytes = want.min(self.bytes.saturating_sub(*used));
            *used += bytes;
            return Ok(bytes);
        }
        if state.used.len() >= MOST {
            state.forget_half();
        }
        let bytes = want.min(self.bytes);
        state.used.insert(key.clone(), bytes);
        Ok(bytes)
    }

    async fn give_back(&self, key: &QuotaKey, bytes: u64) -> Result<(), BoxError> {
        let mut state = self.state();
        if let Some(used) = state.used.get_mut(key) {
            *used = used.saturating_sub(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::session::Identity;

    fn key(number: usize) -> QuotaKey {
        QuotaKey::Identity(Some(Identity::new(number.to_string())))
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_its_bytes_and_has_them_again_in_the_next_period() {
        let quota = MemoryQuota::new(100, Duration::from_secs(60));
        for _ in 0..2 {
            assert_eq!(quota.take(&key(1), 70).await.unwrap(), 70);
            assert_eq!(quota.take(&key(1), 70).await.unwrap(), 30);
            assert_eq!(quota.take(&key(1), 70).await.unwrap(), 0);
            assert_eq!(quota.take(&key(2), 1000).await.unwrap(), 100);
            quota.give_back(&key(1), 20).await.unwrap();
            assert_eq!(quota.left(&key(1)), 20);
            advance(Duration::from_secs(59)).await;
            assert_eq!(quota.take(&key(1), 70).await.unwrap(), 20);
            advance(Duration::from_secs(1)).await;
        }
        // Leased in the period before.
        quota.give_back(&key(1), 50).await.unwrap();
        assert_eq!(quota.left(&key(1)), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn it_forgets_the_half_that_used_least_before_it_grows() {
        let quota = MemoryQuota::new(MOST as u64, Duration::MAX);
        for number in 0..MOST {
            quota.take(&key(number), number as u64).await.unwrap();
        }
        quota.take(&key(MOST), 1).await.unwrap();
        let remembered = quota.state().used.len();
        assert!((MOST / 2 - 1..=MOST / 2 + 1).contains(&remembered));
        assert_eq!(quota.left(&key(MOST - 1)), 1);
        assert_eq!(quota.left(&key(2)), MOST as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_forget_all_if_all_used_the_same() {
        let quota = MemoryQuota::new(10, Duration::MAX);
        for number in 0..=MOST {
            quota.take(&key(number), 10).await.unwrap();
        }
        assert!(quota.state().used.len() >= MOST / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_keys_leave_it_within_its_bound() {
        let quota = MemoryQuota::new(10, Duration::from_secs(60));
        for number in 0..100_000 {
            assert_eq!(quota.take(&key(number), 10).await.unwrap(), 10);
            assert!(quota.state().used.len() <= MOST, "{number}");
        }
        advance(Duration::from_secs(60)).await;
        assert_eq!(quota.take(&key(0), 10).await.unwrap(), 10);
        assert_eq!(quota.state().used.len(), 1);
    }
}
