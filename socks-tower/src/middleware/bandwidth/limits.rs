use std::sync::Arc;

use tokio::time::Instant;

use super::{bucket::Bucket, shaper::Shaper};
use crate::session::policy::{Direction, Grant, Throttle};

/// All that holds one session back, as one throttle: the relay asks for each
/// read, and to look at the clock costs as much as the rest of it.
#[derive(Debug)]
pub(super) struct Limits {
    tunnel: Option<Shaper>,
    /// Others', too.
    shared: Vec<Arc<Shaper>>,
}

impl Limits {
    /// None if there is none.
    pub(super) fn new(tunnel: Option<Shaper>, shared: Vec<Arc<Shaper>>) -> Option<Self> {
        let any = tunnel.is_some() || !shared.is_empty();
        any.then_some(Self { tunnel, shared })
    }

    /// The narrowest first: who is held back by its own troubles nobody else.
    fn buckets(&self, direction: Direction) -> impl Iterator<Item = &Bucket> {
        let shared = self.shared.iter().map(|shaper| &**shaper);
        let all = self.tunnel.iter().chain(shared);
        all.filter_map(move |shaper| shaper.bucket(direction))
    }

    /// Gives back to the first `count`.
    fn give_back_to(&self, count: usize, direction: Direction, bytes: u64) {
        if bytes > 0 {
            for bucket in self.buckets(direction).take(count) {
                bucket.give_back(bytes);
            }
        }
    }
}

impl Throttle for Limits {
    fn take(&self, direction: Direction, want: u64) -> Grant {
        let now = Instant::now();
        let mut granted = want;
        for (asked, bucket) in self.buckets(direction).enumerate() {
            match bucket.take(now, granted) {
                Grant::Bytes(bytes) => {
                    self.give_back_to(asked, direction, granted.saturating_sub(bytes));
                    granted = bytes;
                }
                refusal => {
                    self.give_back_to(asked, direction, granted);
                    return refusal;
                }
            }
        }
        Grant::Bytes(granted)
    }

    fn give_back(&self, direction: Direction, bytes: u64) {
        self.give_back_to(usize::MAX, direction, bytes);
    }

    fn try_take(&self, direction: Direction, bytes: u64) -> bool {
        let now = Instant::now();
        let mut buckets = self.buckets(direction);
        let Some(refused) = buckets.position(|bucket| !bucket.try_take(now, bytes)) else {
            return true;
        };
        self.give_back_to(refused, direction, bytes);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::middleware::bandwidth::ByteRate;

    const RATE: ByteRate = ByteRate::per_second(1000);

    /// A tunnel's own burst of 5000 bytes, and one of 300 up that is shared.
    fn limits() -> (Limits, Arc<Shaper>) {
        let tunnel = Shaper::new(RATE.with_burst(5000));
        let shared = Arc::new(Shaper::new(RATE.with_down(None).with_burst(300)));
        let limits = Limits::new(Some(tunnel), vec![shared.clone()]);
        (limits.unwrap(), shared)
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_charged_for_what_another_holds_back() {
        let (limits, _shared) = limits();
        assert_eq!(limits.take(Direction::Up, 5000), Grant::Bytes(300));
        assert!(matches!(limits.take(Direction::Up, 5000), Grant::Wait(_)));
        assert!(!limits.try_take(Direction::Up, 300));
        // 5000 less what has passed.
        let now = Instant::now();
        let own = limits.tunnel.as_ref().unwrap();
        let bucket = own.bucket(Direction::Up).unwrap();
        assert_eq!(bucket.take(now, 5000), Grant::Bytes(4700));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_goes_to_all() {
        let (limits, shared) = limits();
        assert_eq!(limits.take(Direction::Up, 300), Grant::Bytes(300));
        limits.give_back(Direction::Up, 300);
        assert!(shared.is_full());
        assert!(limits.tunnel.as_ref().unwrap().is_full());
    }

    #[tokio::test(start_paused = true)]
    async fn a_direction_without_a_limit_is_held_back_by_the_others_alone() {
        let (limits, _shared) = limits();
        assert_eq!(limits.take(Direction::Down, 9000), Grant::Bytes(5000));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limits.try_take(Direction::Down, 1000));
        assert!(!limits.try_take(Direction::Down, 1));
    }

    #[test]
    fn without_any_limit_there_is_nothing_to_ask() {
        assert!(Limits::new(None, vec![]).is_none());
    }
}
