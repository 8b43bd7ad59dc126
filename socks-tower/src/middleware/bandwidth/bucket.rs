//! A bucket of bytes, or of datagrams, that fills with time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::session::policy::Grant;

const NANOS: u128 = 1_000_000_000;

/// What a turn is worth, if that is a hundredth of a second's rate: at least
/// what is worth a splice, at most what does not keep others waiting.
const TURN: (u64, u64) = (16 * 1024, 256 * 1024);

/// With less there than this part of a turn, a flow waits for its turn instead
/// of nibbling. Who wants little finds that much most of the time.
const LEAST_PART: u64 = 16;

/// The longest wait for a turn. Who had turns may be gone by then.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes per second.
    rate: u64,
    burst: i64,
    turn: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Below 0 after a datagram that was larger than the burst.
    bytes: i64,
    as_of: Instant,
    /// When the last of the turns that were given is over.
    turns_end: Instant,
}

impl Bucket {
    /// A full bucket, whose burst is at least `least` unless it is set.
    pub(super) fn new(rate: u64, burst: Option<u64>, least: u64) -> Self {
        let least = if rate == 0 { 0 } else { least };
        let burst = burst.unwrap_or((rate / 10).max(least));
        // What holds nothing lets nothing through, however fast it fills.
        let rate = if burst == 0 { 0 } else { rate };
        let burst = i64::try_from(burst).unwrap_or(i64::MAX);
        // A bucket that is full at the turn loses what the timer is late by.
        let half = (burst.unsigned_abs() / 2).max(1);
        let now = Instant::now();
        Self {
            rate,
            burst,
            turn: (rate / 100).clamp(TURN.0, TURN.1).min(half),
            state: Mutex::new(State {
                bytes: burst,
                as_of: now,
                turns_end: now,
            }),
        }
    }

    /// Takes up to `want` bytes, or names the turn to come back at.
    pub(super) fn take(&self, now: Instant, want: u64) -> Grant {
        let mut state = self.filled(now);
        let there = u64::try_from(state.bytes).unwrap_or(0);
        if there >= want.min(self.turn / LEAST_PART).max(1) {
            let bytes = want.min(there);
            state.spend(bytes);
            return Grant::Bytes(bytes);
        }
        // Turns follow one another, for who were told the same instant would
        // all come, and all but the first in vain.
        let turn = self.time_for(self.turn);
        let missing = i128::from(self.turn) - i128::from(state.bytes);
        let ready = now + self.time_for(u64::try_from(missing).unwrap_or(0));
        let latest = ready.max(now + PATIENCE);
        let at = state.turns_end.max(ready).min(latest);
        state.turns_end = at + turn;
        Grant::Wait(at)
    }

    /// Takes exactly `bytes`. More than the burst passes when that is full, and
    /// is paid off before anything else passes.
    pub(super) fn try_take(&self, now: Instant, bytes: u64) -> bool {
        let mut state = self.filled(now);
        let needed = i64::try_from(bytes).unwrap_or(i64::MAX).min(self.burst);
        let granted = self.burst > 0 && state.bytes >= needed;
        if granted {
            state.spend(bytes);
        }
        granted
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_add_unsigned(bytes).min(self.burst);
    }

    /// Whether a new bucket would be just the same.
    pub(super) fn is_full(&self) -> bool {
        self.filled(Instant::now()).bytes == self.burst
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state with all that came in until now.
    fn filled(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        // As most of the time: what is asked for and not found to read is given
        // back.
        if state.bytes == self.burst {
            state.as_of = now;
            return state;
        }
        let elapsed = now.saturating_duration_since(state.as_of);
        let earned = elapsed.as_nanos().saturating_mul(self.rate.into()) / NANOS;
        let room = u128::from(self.burst.abs_diff(state.bytes));
        match u64::try_from(earned) {
            Ok(earned) if u128::from(earned) < room => {
                state.bytes = state.bytes.saturating_add_unsigned(earned);
                // The fraction of a byte stays in the time that is not counted.
                state.as_of += self.time_for(earned);
            }
            _ => {
                state.bytes = self.burst;
                state.as_of = now;
            }
        }
        state
    }

    /// How long `bytes` take to come in.
    fn time_for(&self, bytes: u64) -> Duration {
        if bytes == 0 {
            return Duration::ZERO;
        }
        let nanos = match self.rate {
            0 => u128::MAX,
            rate => (u128::from(bytes) * NANOS).div_ceil(rate.into()),
        };
        // Half a millennium is as good as what is more.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl State {
    fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub_unsigned(bytes);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(rate: u64, burst: Option<u64>) -> Bucket {
        Bucket::new(rate, burst, 1500)
    }

    fn wait(grant: Grant) -> Duration {
        match grant {
            Grant::Wait(at) => at - Instant::now(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_then_the_rate() {
        let bucket = bucket(1_000_000, Some(300_000));
        assert_eq!(
            bucket.take(Instant::now(), 1_000_000),
            Grant::Bytes(300_000)
        );
        // A turn is 16 KiB.
        assert_eq!(
            wait(bucket.take(Instant::now(), 1_000_000)),
            Duration::from_micros(16_384)
        );
        advance(SECOND / 10).await;
        assert_eq!(bucket.take(Instant::now(), 60_000), Grant::Bytes(60_000));
        assert_eq!(bucket.take(Instant::now(), 60_000), Grant::Bytes(40_000));
        advance(1000 * SECOND).await;
        assert_eq!(bucket.take(Instant::now(), u64::MAX), Grant::Bytes(300_000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_was_never_taken() {
        let bucket = bucket(1000, Some(5000));
        assert_eq!(bucket.take(Instant::now(), 5000), Grant::Bytes(5000));
        bucket.give_back(4990);
        assert_eq!(bucket.take(Instant::now(), 4990), Grant::Bytes(4990));
        bucket.give_back(5000);
        bucket.give_back(5000);
        assert_eq!(bucket.take(Instant::now(), 10_000), Grant::Bytes(5000));
    }

    #[tokio::test(start_paused = true)]
    async fn no_fraction_of_a_byte_is_lost_however_often_one_looks() {
        let bucket = bucket(4000, Some(5000));
        assert!(bucket.try_take(Instant::now(), 5000));
        for _ in 0..1_000 {
            advance(Duration::from_micros(1001)).await;
            assert!(!bucket.try_take(Instant::now(), 5000));
        }
        assert_eq!(bucket.take(Instant::now(), 9999), Grant::Bytes(4004));
    }

    #[tokio::test(start_paused = true)]
    async fn turns_follow_one_another_up_to_a_second() {
        let bucket = bucket(1_000_000, Some(100_000));
        assert!(bucket.try_take(Instant::now(), 100_000));
        let waits: Vec<_> = (0..100)
            .map(|_| wait(bucket.take(Instant::now(), 100_000)))
            .collect();
        assert_eq!(waits[0].as_micros(), 16_384);
        assert_eq!(waits[1].as_micros(), 2 * 16_384);
        assert_eq!(waits[59].as_micros(), 60 * 16_384);
        assert_eq!(waits[99], SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_datagram_larger_than_the_burst_passes_when_that_is_full_and_is_paid_off() {
        let bucket = bucket(1000, Some(2000));
        assert!(bucket.try_take(Instant::now(), 10_000));
        advance(8 * SECOND).await;
        assert!(!bucket.try_take(Instant::now(), 1));
        advance(SECOND).await;
        assert!(bucket.try_take(Instant::now(), 1000));
        assert!(!bucket.try_take(Instant::now(), 2001));
        advance(2 * SECOND).await;
        assert!(bucket.try_take(Instant::now(), 2001));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_or_a_burst_of_0_lets_nothing_through() {
        for bucket in [bucket(0, None), bucket(0, Some(0)), bucket(1000, Some(0))] {
            advance(1_000_000 * SECOND).await;
            assert!(wait(bucket.take(Instant::now(), 1)) > 1_000_000 * SECOND);
            assert!(!bucket.try_take(Instant::now(), 1));
            assert!(bucket.is_full());
        }
        let once = bucket(0, Some(5));
        assert_eq!(once.take(Instant::now(), 9), Grant::Bytes(5));
        advance(1_000_000 * SECOND).await;
        assert!(wait(once.take(Instant::now(), 1)) > 1_000_000 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn extremes_are_no_trouble() {
        let slow = bucket(1, Some(1));
        assert_eq!(slow.take(Instant::now(), u64::MAX), Grant::Bytes(1));
        assert_eq!(wait(slow.take(Instant::now(), u64::MAX)), SECOND);
        let fast = bucket(u64::MAX, Some(u64::MAX));
        for _ in 0..3 {
            assert!(matches!(
                fast.take(Instant::now(), u64::MAX),
                Grant::Bytes(_)
            ));
            fast.give_back(u64::MAX);
            advance(1_000_000 * SECOND).await;
        }
        assert!(fast.is_full());
    }
}
