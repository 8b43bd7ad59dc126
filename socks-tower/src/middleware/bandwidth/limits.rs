use std::sync::Arc;

use tokio::time::Instant;

use super::{
    bucket::Bucket,
    shaper::{Shaper, Unit},
};
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
    fn all(&self, direction: Direction) -> impl Iterator<Item = (Unit, &Bucket)> {
        let shared = self.shared.iter().map(|shaper| &**shaper);
        let all = self.tunnel.iter().chain(shared);
        all.filter_map(move |shaper| Some((shaper.unit(), shaper.bucket(direction)?)))
    }

    /// Those that hold bytes.
    fn buckets(&self, direction: Direction) -> impl Iterator<Item = &Bucket> {
        let all = self.all(direction);
        all.filter_map(|(unit, bucket)| (unit == Unit::Bytes).then_some(bucket))
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

    /// Of bytes alone: how many datagrams they were, nobody says.
    fn give_back(&self, direction: Direction, bytes: u64) {
        self.give_back_to(usize::MAX, direction, bytes);
    }

    fn try_take(&self, direction: Direction, bytes: u64) -> bool {
        let now = Instant::now();
        let takes = |(unit, bucket): (Unit, &Bucket)| bucket.try_take(now, unit.of_datagram(bytes));
        let Some(refused) = self.all(direction).position(|one| !takes(one)) else {
            return true;
        };
        for (unit, bucket) in self.all(direction).take(refused) {
            bucket.give_back(unit.of_datagram(bytes));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::middleware::bandwidth::{ByteRate, DatagramRate};

    const RATE: ByteRate = ByteRate::per_second(1000);

    /// A tunnel's own burst of 5000 bytes, and one of 300 up that is shared.
    fn limits() -> (Limits, Arc<Shaper>) {
        let tunnel = Shaper::new(RATE.with_burst(5000).into());
        let shared = Arc::new(Shaper::new(RATE.with_down(None).with_burst(300).into()));
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

    #[tokio::test(start_paused = true)]
    async fn datagrams_are_counted_whatever_their_size_and_streams_are_not() {
        let datagrams = Shaper::new(DatagramRate::per_second(10).with_burst(3).into());
        let bytes = Arc::new(Shaper::new(RATE.with_burst(2000).into()));
        let limits = Limits::new(Some(datagrams), vec![bytes]).unwrap();
        assert_eq!(limits.take(Direction::Up, 9000), Grant::Bytes(2000));
        limits.give_back(Direction::Up, 2000);

        assert!(limits.try_take(Direction::Up, 1500));
        // What the bytes have no room for is no datagram either.
        for _ in 0..9 {
            assert!(!limits.try_take(Direction::Up, 1500));
        }
        assert!(limits.try_take(Direction::Up, 1));
        assert!(limits.try_take(Direction::Up, 1));
        assert!(!limits.try_take(Direction::Up, 1), "the fourth");
        assert!(limits.try_take(Direction::Down, 1));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(limits.try_take(Direction::Up, 1));
        assert!(!limits.try_take(Direction::Up, 1));
    }

    #[tokio::test]
    async fn a_burst_of_datagrams_is_a_tenth_of_a_second_s_and_ten_at_least() {
        for (rate, burst) in [(1, 10), (1000, 100)] {
            let shaper = Shaper::new(DatagramRate::per_second(rate).into());
            let bucket = shaper.bucket(Direction::Up).unwrap();
            let now = Instant::now();
            assert_eq!(bucket.take(now, 1_000_000), Grant::Bytes(burst));
        }
    }
}
