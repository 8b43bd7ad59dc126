use super::{bucket::Bucket, rate::ByteRate};
use crate::session::policy::Direction;

/// A bucket each way, where there is a limit.
#[derive(Debug)]
pub(super) struct Shaper {
    up: Option<Bucket>,
    down: Option<Bucket>,
}

impl Shaper {
    pub(super) fn new(rate: ByteRate) -> Self {
        let bucket = |bytes| Bucket::new(bytes, rate.burst);
        Self {
            up: rate.up.map(bucket),
            down: rate.down.map(bucket),
        }
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
