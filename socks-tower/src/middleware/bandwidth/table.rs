use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use super::{rate::ByteRate, shaper::Shaper};

/// Entries besides those of live sessions.
const MOST: usize = 65_536;

/// Entries before it is worth looking for idle ones.
const FEW: usize = 1024;

/// A limit for each of many.
#[derive(Debug)]
pub(super) struct Table<K> {
    rate: ByteRate,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    entries: HashMap<K, Arc<Shaper>>,
    /// So many entries are the occasion to look for idle ones.
    sweep_at: usize,
}

impl<K: Eq + Hash> Table<K> {
    pub(super) fn new(rate: ByteRate) -> Self {
        let state = State {
            entries: HashMap::new(),
            sweep_at: FEW,
        };
        Self {
            rate,
            state: Mutex::new(state),
        }
    }

    /// The limit of `key`. It is remembered for as long as it is held, and then
    /// until it is as good as new: otherwise a client that hangs up and comes
    /// again would have its burst each time.
    pub(super) fn get(&self, key: K) -> Arc<Shaper> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.entries.len() >= state.sweep_at {
            state.sweep();
        }
        let entry = state.entries.entry(key);
        Arc::clone(entry.or_insert_with(|| Arc::new(Shaper::new(self.rate))))
    }
}

impl<K: Eq + Hash> State<K> {
    fn sweep(&mut self) {
        let is_held = |shaper: &Arc<Shaper>| Arc::strong_count(shaper) > 1;
        self.entries
            .retain(|_, shaper| is_held(shaper) || !shaper.is_full());
        if self.entries.len() >= MOST {
            // Memory first, for it is an attack: some get a burst too many.
            self.entries.retain(|_, shaper| is_held(shaper));
        }
        // Not sooner than after as many newcomers again.
        self.sweep_at = (2 * self.entries.len()).clamp(FEW, MOST.max(self.entries.len() + FEW));
        // What a flood has grown does not stay for ever.
        self.entries.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;
    use crate::session::policy::Direction;

    fn table() -> Table<usize> {
        Table::new(ByteRate::per_second(1000).with_burst(1000))
    }

    fn takes(table: &Table<usize>, key: usize, bytes: u64) -> bool {
        let shaper = table.get(key);
        let bucket = shaper.bucket(Direction::Up).unwrap();
        bucket.try_take(Instant::now(), bytes)
    }

    fn len(table: &Table<usize>) -> usize {
        table.state.lock().unwrap().entries.len()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_finds_what_it_left() {
        let table = table();
        assert!(takes(&table, 7, 1000));
        assert!(!takes(&table, 7, 1000));
        assert!(takes(&table, 8, 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn full_and_unused_entries_make_room() {
        let table = table();
        let held = table.get(usize::MAX);
        for key in 0..FEW - 2 {
            table.get(key);
        }
        assert!(takes(&table, FEW, 1));
        assert_eq!(len(&table), FEW);
        table.get(FEW + 1);
        assert_eq!(len(&table), 3, "the held, the used, the new");
        assert!(Arc::ptr_eq(&held, &table.get(usize::MAX)));

        advance(Duration::from_secs(1)).await;
        for key in 0..FEW - 2 {
            table.get(key);
        }
        assert_eq!(len(&table), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_65_536_besides_those_in_use() {
        let table = table();
        let held: Vec<_> = (0..10).map(|key| table.get(key)).collect();
        for key in 0..3 * MOST {
            assert!(takes(&table, key, 1));
            assert!(len(&table) <= MOST);
        }
        for (key, held) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(held, &table.get(key)));
        }
    }
}
