use std::{fmt, num::NonZeroU32, time::Duration};

use governor::Quota;

/// So many in a time, evenly spread, and so many at once.
///
/// It works like a bucket that holds `burst` and is filled up again at the
/// rate. A rate or a burst of 0 lets nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Duration,
    burst: u32,
}

impl Rate {
    /// What takes longer to fill a bucket is as good as for ever, and must not
    /// overflow governor's nanoseconds.
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// `count` in `per`, all at once if need be.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Self {
        Self {
            count,
            per,
            burst: count,
        }
    }

    /// `count` a second, all at once if need be.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` a minute, all at once if need be.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// Lets `burst` through at once, after a time in which there was nothing.
    #[must_use]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// None if nothing is let through.
    pub(in crate::middleware) fn quota(self) -> Option<Quota> {
        let burst = NonZeroU32::new(self.burst)?;
        let interval = self.per.checked_div(self.count)?;
        let interval = interval
            .min(Self::LONGEST / burst.get())
            .max(Duration::from_nanos(1));
        Some(Quota::with_period(interval)?.allow_burst(burst))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, per, burst } = self;
        write!(f, "{count} in {per:?}, {burst} at once")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_nothing_has_no_quota_and_no_rate_overflows() {
        assert_eq!(Rate::per_second(0).quota(), None);
        assert_eq!(Rate::per_second(1).with_burst(0).quota(), None);
        for rate in [
            Rate::new(1, Duration::MAX),
            Rate::new(u32::MAX, Duration::MAX),
            Rate::new(1, Duration::MAX).with_burst(u32::MAX),
            Rate::new(u32::MAX, Duration::ZERO),
        ] {
            let quota = rate.quota().unwrap();
            assert!(quota.burst_size_replenished_in() <= Rate::LONGEST, "{rate}");
        }
    }
}
