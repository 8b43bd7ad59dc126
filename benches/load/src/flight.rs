//! Numbered datagrams under way.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// What takes longer is lost, unless it still comes.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// When each left that is younger than the oldest under way: none once it
    /// is back.
    left: VecDeque<Option<Instant>>,
    /// The number of the first of them.
    first: usize,
    under_way: usize,
    /// How many came back.
    pub(crate) done: u64,
    lost: HashSet<usize>,
}

impl Flight {
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// The number of the next that is sent.
    pub(crate) fn next(&self) -> usize {
        self.first + self.left.len()
    }

    pub(crate) fn sent(&mut self, count: usize, now: Instant) {
        self.left.extend(std::iter::repeat_n(Some(now), count));
        self.under_way += count;
    }

    pub(crate) fn came(&mut self, number: usize) -> Result<()> {
        if let Some(at) = number.checked_sub(self.first) {
            let left = self.left.get_mut(at).and_then(Option::take);
            ensure!(left.is_some(), "a datagram came that was not under way");
            self.under_way -= 1;
            self.forget();
        } else {
            // Another has taken its place.
            ensure!(self.lost.remove(&number), "a datagram came twice");
        }
        self.done += 1;
        Ok(())
    }

    /// Does not wait any longer for those that left long ago.
    pub(crate) fn give_up(&mut self, now: Instant) {
        while let Some(Some(left)) = self.left.front() {
            if now.duration_since(*left) < PATIENCE {
                return;
            }
            self.lost.insert(self.first);
            self.left.pop_front();
            self.first += 1;
            self.under_way -= 1;
            self.forget();
        }
    }

    fn forget(&mut self) {
        while let Some(None) = self.left.front() {
            self.left.pop_front();
            self.first += 1;
        }
    }

    pub(crate) fn lost_percent(&self) -> f64 {
        let lost = self.lost.len() as f64;
        lost * 100.0 / (lost + self.done as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_is_lost_and_what_comes_late_is_not() {
        let (mut flight, began) = (Flight::default(), Instant::now());
        flight.sent(4, began);
        flight.came(2).unwrap();
        assert_eq!((flight.next(), flight.under_way()), (4, 3));

        flight.give_up(began + PATIENCE / 2);
        assert_eq!(flight.under_way(), 3);
        flight.give_up(began + PATIENCE);
        assert_eq!((flight.next(), flight.under_way()), (4, 0));
        assert_eq!(flight.lost_percent(), 75.0);

        flight.came(1).unwrap();
        flight.came(0).unwrap();
        assert_eq!(flight.lost_percent(), 25.0);
    }

    #[test]
    fn nothing_comes_twice_or_before_it_was_sent() {
        let mut flight = Flight::default();
        flight.sent(2, Instant::now());
        flight.came(1).unwrap();
        assert!(flight.came(1).is_err());
        assert!(flight.came(2).is_err());
        flight.came(0).unwrap();
        assert!(flight.came(0).is_err());
    }
}
