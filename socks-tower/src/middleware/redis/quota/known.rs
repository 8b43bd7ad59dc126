use std::time::Duration;

use tokio::time::Instant;

use crate::middleware::table::Table;

/// Keys that are kept in mind.
const MOST: usize = 65_536;

/// What a node knows of a quota in this period.
pub(super) struct Known {
    keys: Table<String, Use>,
    /// Its number, by Redis's clock; none if Redis has not said it.
    period: Option<u64>,
    ends: Option<Instant>,
}

#[derive(Default)]
struct Use {
    /// Bytes that all nodes have used, as far as is known here.
    used: u64,
    /// Bytes of these that Redis has not heard of; less than none were given back.
    owed: i64,
}

/// What Redis has not heard of: bytes, and their period.
pub(super) struct Owed {
    pub(super) bytes: i64,
    pub(super) period: Option<u64>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            keys: Table::new(MOST),
            period: None,
            ends: None,
        }
    }
}

impl Known {
    /// What Redis said: all that is owed has been told.
    pub(super) fn learn(&mut self, key: &str, used: u64, period: u64, rest: Duration) {
        if self.period.is_some_and(|known| known != period) {
            self.keys = Table::new(MOST);
        }
        self.period = Some(period);
        self.ends = Some(Instant::now() + rest);
        if let Some(known) = self.entry(key) {
            // With what came to be owed while Redis was asked.
            known.used = used.saturating_add_signed(known.owed);
        }
    }

    /// As much of `want` as is left of `quota` by what this node knows.
    pub(super) fn spend(&mut self, key: &str, want: u64, quota: u64, period: Duration) -> u64 {
        let now = Instant::now();
        match self.ends {
            // Redis does not say so, but it is.
            Some(ends) if ends <= now => {
                self.keys = Table::new(MOST);
                self.period = self.period.map(|number| number.wrapping_add(1));
                self.ends = Some(now + period);
            }
            Some(_) => {}
            None => self.ends = Some(now + period),
        }
        let Some(known) = self.entry(key) else {
            return 0;
        };
        let granted = want.min(quota.saturating_sub(known.used));
        known.used = known.used.saturating_add(granted);
        known.owed = known.owed.saturating_add_unsigned(granted);
        granted
    }

    /// What is owed besides `bytes` that are given back, to be told.
    pub(super) fn give_back(&mut self, key: &str, bytes: u64) -> Owed {
        let mut owed = self.take_owed(key);
        owed.bytes = owed.bytes.saturating_sub_unsigned(bytes);
        if let Some(known) = self.keys.get_mut(key) {
            known.used = known.used.saturating_sub(bytes);
        }
        owed
    }

    /// What is owed, to be told. It is owed no more.
    pub(super) fn take_owed(&mut self, key: &str) -> Owed {
        let known = self.keys.get_mut(key);
        Owed {
            bytes: known.map_or(0, |known| std::mem::take(&mut known.owed)),
            period: self.period,
        }
    }

    /// Redis did not hear of it.
    pub(super) fn owe(&mut self, key: &str, owed: Owed) {
        if owed.bytes == 0 || owed.period != self.period {
            return;
        }
        if let Some(known) = self.entry(key) {
            known.owed = known.owed.saturating_add(owed.bytes);
        }
    }

    /// All that owe something.
    pub(super) fn owing(&self) -> Vec<String> {
        let owing = self.keys.iter().filter(|(_, known)| known.owed != 0);
        owing.map(|(key, _)| key.clone()).collect()
    }

    fn entry(&mut self, key: &str) -> Option<&mut Use> {
        let now = Instant::now();
        if self.keys.len() >= MOST && self.keys.get_mut(key).is_none() {
            // One that owes nothing can be asked about again.
            self.keys
                .evict(|known: &Use| Some((known.owed != 0, known.used)));
        }
        self.keys
            .entry(key.to_owned(), now, |_| false, Use::default)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn alone_a_node_grants_what_was_left_when_it_last_heard_and_owes_that() {
        let mut known = Known::default();
        known.learn("joe", 70, 5, MINUTE);
        assert_eq!(known.spend("joe", 20, 100, MINUTE), 20);
        assert_eq!(known.spend("joe", 20, 100, MINUTE), 10);
        assert_eq!(known.spend("joe", 20, 100, MINUTE), 0);
        assert_eq!(
            known.spend("ann", 200, 100, MINUTE),
            100,
            "nothing is known"
        );
        let owed = known.give_back("joe", 5);
        assert_eq!((owed.bytes, owed.period), (25, Some(5)));
        known.owe("joe", owed);
        let mut owing = known.owing();
        owing.sort();
        assert_eq!(owing, ["ann", "joe"]);

        let owed = known.take_owed("joe");
        assert_eq!(
            known.spend("joe", 100, 100, MINUTE),
            5,
            "while Redis is asked"
        );
        known.learn("joe", 70 + 25, 5, MINUTE);
        assert_eq!(owed.bytes, 25);
        assert_eq!(known.spend("joe", 20, 100, MINUTE), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_owed_of_a_period_that_is_over_is_forgotten() {
        let mut known = Known::default();
        known.learn("joe", 70, 5, MINUTE);
        assert_eq!(known.spend("joe", 100, 100, MINUTE), 30);
        advance(MINUTE).await;
        assert_eq!(
            known.spend("joe", 10, 100, MINUTE),
            10,
            "a new period, by itself"
        );
        let owed = known.take_owed("joe");
        assert_eq!((owed.bytes, owed.period), (10, Some(6)));
        known.learn("ann", 0, 7, MINUTE);
        known.owe("joe", owed);
        assert!(known.owing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_keys_leave_it_within_its_bound() {
        let mut known = Known::default();
        for number in 0..100_000 {
            assert_eq!(known.spend(&number.to_string(), 10, 10, MINUTE), 10);
        }
        assert_eq!(known.keys.len(), MOST);
    }
}
