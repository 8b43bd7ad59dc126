//! State by key, bounded whatever keys come.

#[cfg(feature = "redis")]
use std::borrow::Borrow;
use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// A map that holds so many keys and no more.
///
/// What is idle is swept out when the table has doubled since the last time, so
/// that a key costs the same however many there are. A table that is full is
/// swept once a second at most: a flood of keys cannot make each of them cost a
/// walk through all.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    map: HashMap<K, V>,
    max: usize,
    sweep_at: usize,
    swept: Option<Instant>,
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// What is this small is not worth a sweep.
    const SMALL: usize = 64;

    /// How often a full table is swept.
    const PERIOD: Duration = Duration::from_secs(1);

    pub(crate) fn new(max: usize) -> Self {
        Self {
            map: HashMap::new(),
            max,
            sweep_at: Self::SMALL.min(max),
            swept: None,
        }
    }

    #[cfg(any(test, feature = "redis"))]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The value of `key`, a new one if it has none; none if there is no room.
    /// Values that are `idle` may be dropped to make some.
    pub(crate) fn entry(
        &mut self,
        key: K,
        now: Instant,
        idle: impl Fn(&V) -> bool,
        new: impl FnOnce() -> V,
    ) -> Option<&mut V> {
        if self.map.len() >= self.sweep_at && !self.map.contains_key(&key) {
            self.sweep(now, idle);
            if self.map.len() >= self.max {
                return None;
            }
        }
        Some(self.map.entry(key).or_insert_with(new))
    }

    fn sweep(&mut self, now: Instant, idle: impl Fn(&V) -> bool) {
        let full = self.map.len() >= self.max;
        let lately = self.swept.is_some_and(|at| now < at + Self::PERIOD);
        if full && lately {
            return;
        }
        self.swept = Some(now);
        self.map.retain(|_, value| !idle(value));
        self.sweep_at = (2 * self.map.len()).max(Self::SMALL).min(self.max);
        self.map.shrink_to(self.sweep_at);
    }
}

#[cfg(any(feature = "lockout", feature = "bandwidth"))]
impl<K: Clone + Eq + Hash, V> Table<K, V> {
    /// How many values are looked at for one to drop.
    const SAMPLE: usize = 8;

    /// Drops the value that ranks lowest of a few; one without a rank stays.
    pub(crate) fn evict<R: Ord>(&mut self, rank: impl Fn(&V) -> Option<R>) {
        let few = self.map.iter().take(Self::SAMPLE);
        let ranked = few.filter_map(|(key, value)| Some((rank(value)?, key)));
        let lowest = ranked.min_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(key) = lowest.map(|(_, key)| key.clone()) {
            self.map.remove(&key);
        }
    }
}

#[cfg(feature = "lockout")]
impl<K: Eq + Hash, V> Table<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.map.remove(key);
    }
}

#[cfg(feature = "redis")]
impl<K: Eq + Hash, V> Table<K, V> {
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.map.get_mut(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::advance;

    use super::*;

    /// How many values a hundred thousand newcomers have looked at.
    fn looks(table: &mut Table<u32, ()>, from: u32) -> usize {
        let looks = Cell::new(0);
        let busy = |(): &()| {
            looks.set(looks.get() + 1);
            false
        };
        for key in from..from + 100_000 {
            table.entry(key, Instant::now(), busy, || ());
        }
        looks.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_keys_does_not_make_each_walk_through_all() {
        let mut table = Table::new(65_536);

        assert!(looks(&mut table, 0) < 3 * 65_536, "twice as many each time");
        assert_eq!(table.len(), 65_536);
        assert_eq!(looks(&mut table, 100_000), 0, "swept a moment ago");
        advance(Table::<u32, ()>::PERIOD).await;
        assert_eq!(looks(&mut table, 200_000), 65_536);
    }
}
