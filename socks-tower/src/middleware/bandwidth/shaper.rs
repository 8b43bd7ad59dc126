use super::{bucket::Bucket, rate::BandwidthRate};
use crate::session::policy::Direction;

/// A bucket each way, where there is a limit.
#[derive(Debug)]
pub(super) struct Shaper {
    unit: Unit,
    up: Option<Bucket>,
    down: Option<Bucket>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Datagrams,
}

impl Unit {
    /// What a datagram of so many bytes takes.
    pub(super) const fn of_datagram(self, bytes: u64) -> u64 {
        match self {
            Self::Bytes => bytes,
            Self::Datagrams => 1,
        }
    }

    /// A burst holds at least a packet, or those that open a conversation.
    const fn least_burst(self) -> u64 {
        match self {
            Self::Bytes => 1500,
            Self::Datagrams => 10,
        }
    }
}

impl Shaper {
    pub(super) fn new(rate: BandwidthRate) -> Self {
        let (unit, rate) = match rate {
            BandwidthRate::Bytes(rate) => (Unit::Bytes, rate.0),
            BandwidthRate::Datagrams(rate) => (Unit::Datagrams, rate.0),
        };
        let bucket = |count| Bucket::new(count, rate.burst, unit.least_burst());
        Self {
            unit,
            up: rate.up.map(bucket),
            down: rate.down.map(bucket),
        }
    }

    pub(super) fn unit(&self) -> Unit {
        self.unit
    }

    /// Whether a new one would be just the same.
    pub(super) fn is_full(&self) -> bool {
        let mut buckets = [&self.up, &self.down].into_iter().flatten();
        buckets.all(Bucket::is_full)
    }

    pub(super) fn bucket(&self, direction: Direction) -> Option<&Bucket> {
        match direction {
            Direction::Up => self.up.as_ref(),
            Direction::Down => self.down.as_ref(),
        }
    }
}
