//! Who may have how much of what there is only so much of.

use std::{collections::HashMap, hash::Hash};

/// Places, by whoever holds them. Each holder is counted under all of its keys,
/// and may have one more as long as it has fewer than there are free places.
///
/// So one alone gets half of the places, two a third each, and there is a place
/// for a newcomer as long as there are fewer holders than places.
pub(super) struct Shares<K> {
    places: usize,
    held: usize,
    by_key: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            held: 0,
            by_key: HashMap::new(),
        }
    }

    /// Whether the holder of `keys` may have one more.
    pub(super) fn has_room<'a>(&self, keys: impl Iterator<Item = &'a K>) -> bool
    where
        K: 'a,
    {
        let held: usize = keys.filter_map(|key| self.by_key.get(key)).sum();
        held < self.places.saturating_sub(self.held)
    }

    pub(super) fn take<'a>(&mut self, keys: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        self.held += 1;
        for key in keys {
            match self.by_key.get_mut(key) {
                Some(held) => *held += 1,
                None => _ = self.by_key.insert(key.clone(), 1),
            }
        }
    }

    pub(super) fn give_back<'a>(&mut self, keys: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        self.held = self.held.saturating_sub(1);
        for key in keys {
            match self.by_key.get_mut(key) {
                Some(held) if *held > 1 => *held -= 1,
                _ => _ = self.by_key.remove(key),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes<'a>(shares: &mut Shares<&'a str>, keys: &[&'a str]) -> usize {
        let mut taken = 0;
        while shares.has_room(keys.iter()) {
            shares.take(keys.iter());
            taken += 1;
        }
        taken
    }

    #[test]
    fn each_newcomer_finds_half_of_what_is_free() {
        let mut shares = Shares::new(64);
        assert_eq!(takes(&mut shares, &["a"]), 32);
        assert_eq!(takes(&mut shares, &["b"]), 16);
        assert_eq!(takes(&mut shares, &["c"]), 8);
        for _ in 0..8 {
            shares.give_back(["a"].iter());
        }
        // What one gives back is shared by whoever asks, itself too.
        assert_eq!(takes(&mut shares, &["b"]), 0);
        assert_eq!(takes(&mut shares, &["c"]), 4);
    }

    #[test]
    fn a_holder_counts_under_each_of_its_keys() {
        let mut shares = Shares::new(64);
        // One address of an identity leaves the others of both something.
        assert_eq!(takes(&mut shares, &["address", "joe"]), 22);
        assert_eq!(takes(&mut shares, &["elsewhere", "joe"]), 7);
        assert_eq!(takes(&mut shares, &["address", "ann"]), 5);
        assert_eq!(takes(&mut shares, &["stranger"]), 15);
    }

    #[test]
    fn no_place_is_a_place_for_nobody_and_the_last_one_for_a_newcomer() {
        assert_eq!(takes(&mut Shares::new(0), &["a"]), 0);
        let mut shares = Shares::new(1);
        assert_eq!(takes(&mut shares, &["a"]), 1);
        assert_eq!(takes(&mut shares, &["b"]), 0);
        shares.give_back(["a"].iter());
        assert_eq!(takes(&mut shares, &["b"]), 1);
        shares.give_back(["b"].iter());
        assert!(shares.by_key.is_empty());
    }
}
