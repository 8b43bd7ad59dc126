use std::{
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use super::{rate::BandwidthRate, shaper::Shaper};
use crate::middleware::table;

/// As many are remembered.
const MOST: usize = 65_536;

/// A limit for each of many.
#[derive(Debug)]
pub(super) struct Table<K> {
    rate: BandwidthRate,
    entries: Mutex<table::Table<K, Arc<Shaper>>>,
}

impl<K: Clone + Eq + Hash> Table<K> {
    pub(super) fn new(rate: BandwidthRate) -> Self {
        Self {
            rate,
            entries: Mutex::new(table::Table::new(MOST)),
        }
    }

    /// The limit of `key`. It is remembered for as long as it is held, and then
    /// until it is as good as new: otherwise a client that hangs up and comes
    /// again would have its burst each time.
    pub(super) fn get(&self, key: K) -> Arc<Shaper> {
        let now = Instant::now();
        let new = || Arc::new(Shaper::new(self.rate));
        let idle = |shaper: &Arc<Shaper>| !is_held(shaper) && shaper.is_full();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shaper) = entries.entry(key.clone(), now, idle, new) {
            return Arc::clone(shaper);
        }
        // Memory first, for it is an attack: some get a burst too many.
        entries.evict(|shaper| (!is_held(shaper)).then_some(()));
        match entries.entry(key, now, idle, new) {
            Some(shaper) => Arc::clone(shaper),
            // All are live, which a limit on sessions is to bound.
            None => new(),
        }
    }
}

/// Whether a session has it.
fn is_held(shaper: &Arc<Shaper>) -> bool {
    Arc::strong_count(shaper) > 1
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::middleware::bandwidth::ByteRate;
    use crate::session::policy::Direction;

    fn table() -> Table<usize> {
        Table::new(ByteRate::per_second(1000).with_burst(1000).into())
    }

    fn takes(table: &Table<usize>, key: usize, bytes: u64) -> bool {
        let shaper = table.get(key);
        let bucket = shaper.bucket(Direction::Up).unwrap();
        bucket.try_take(Instant::now(), bytes)
    }

    fn len(table: &Table<usize>) -> usize {
        table.entries.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_finds_what_it_left() {
        let table = table();
        assert!(takes(&table, 7, 1000));
        assert!(!takes(&table, 7, 1000));
        assert!(takes(&table, 8, 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn full_and_unused_entries_make_room_and_others_stay() {
        let table = table();
        let held = table.get(usize::MAX);
        assert!(takes(&table, usize::MAX - 1, 1));
        for key in 0..1000 {
            table.get(key);
        }
        assert!(len(&table) < 200, "{}", len(&table));
        assert!(Arc::ptr_eq(&held, &table.get(usize::MAX)));
        assert!(!takes(&table, usize::MAX - 1, 1000), "it is remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_65_536() {
        let table = table();
        let held: Vec<_> = (0..10).map(|key| table.get(key)).collect();
        for key in 10..3 * MOST {
            assert!(takes(&table, key, 1));
            assert!(len(&table) <= MOST);
        }
        for (key, held) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(held, &table.get(key)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_live_a_newcomer_is_limited_by_itself() {
        let table = table();
        let live: Vec<_> = (0..MOST).map(|key| table.get(key)).collect();
        assert!(takes(&table, MOST, 1000));
        assert_eq!((len(&table), live.len()), (MOST, MOST));
    }
}
