//! Who has how many connections.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::middleware::limit::LimitKey;

/// The places of each key. A key is here while somebody has a claim to one of
/// its places, so that there is nothing to sweep.
pub(super) struct Places<K> {
    max: usize,
    max_keys: usize,
    keys: Mutex<HashMap<K, OfKey>>,
}

struct OfKey {
    free: Arc<Semaphore>,
    claims: usize,
}

impl<K: LimitKey> Places<K> {
    pub(super) fn new(max: usize, max_keys: usize) -> Self {
        Self {
            max: max.min(Semaphore::MAX_PERMITS),
            max_keys,
            keys: Mutex::default(),
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// None if there is no room for another key.
    pub(super) fn claim(self: &Arc<Self>, key: K) -> Option<Claim<K>> {
        let mut keys = self.keys();
        let full = keys.len() >= self.max_keys;
        let of_key = match keys.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => entry.insert(OfKey {
                free: Arc::new(Semaphore::new(self.max)),
                claims: 0,
            }),
        };
        of_key.claims += 1;
        let free = Arc::clone(&of_key.free);
        drop(keys);
        let places = Arc::clone(self);
        Some(Claim { places, key, free })
    }

    /// Nothing panics while it holds the lock, but for a key's own `Hash` or
    /// `Eq`; and even then the count is as good as before.
    fn keys(&self) -> MutexGuard<'_, HashMap<K, OfKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a key in the table.
pub(super) struct Claim<K: LimitKey> {
    places: Arc<Places<K>>,
    key: K,
    free: Arc<Semaphore>,
}

/// One of a key's places, taken.
pub(super) struct Place<K: LimitKey> {
    // Given back first: while the key has a claim, its semaphore is the one
    // that newcomers find.
    _permit: OwnedSemaphorePermit,
    _claim: Claim<K>,
}

impl<K: LimitKey> Claim<K> {
    pub(super) fn take_place(self) -> Result<Place<K>, Self> {
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Ok(self.with(permit)),
            Err(_) => Err(self),
        }
    }

    /// None if there will be no place, which does not happen: nobody closes
    /// the semaphore.
    pub(super) async fn wait_for_place(self) -> Option<Place<K>> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.with(permit))
    }

    fn with(self, permit: OwnedSemaphorePermit) -> Place<K> {
        Place {
            _permit: permit,
            _claim: self,
        }
    }
}

impl<K: LimitKey> Drop for Claim<K> {
    fn drop(&mut self) {
        let mut keys = self.places.keys();
        if let Some(of_key) = keys.get_mut(&self.key) {
            of_key.claims -= 1;
            if of_key.claims == 0 {
                keys.remove(&self.key);
            }
        }
        // What a flood has grown does not stay for ever.
        let room = keys.capacity();
        if room > 1024 && keys.len() < room / 8 {
            keys.shrink_to(room / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted<K: LimitKey>(places: &Places<K>) -> usize {
        places.keys().len()
    }

    #[test]
    fn a_hundred_thousand_keys_leave_the_table_within_its_bound() {
        let places = Arc::new(Places::new(1, 65_536));

        let claims: Vec<_> = (0..100_000).map(|key| places.claim(key)).collect();

        assert_eq!(counted(&places), 65_536);
        assert_eq!(claims.iter().flatten().count(), 65_536);
        assert!(places.claim(7).is_some(), "one that is there has room");
        drop(claims);
        assert_eq!(counted(&places), 0);
        assert!(places.keys().capacity() <= 2048);
    }

    #[test]
    fn a_key_is_gone_with_its_last_claim() {
        let places = Arc::new(Places::new(1, 10));
        let first = places.claim("joe").unwrap().take_place().ok().unwrap();
        let second = places.claim("joe").unwrap();
        assert_eq!(counted(&places), 1);

        drop(first);
        assert_eq!(counted(&places), 1);
        let second = second.take_place().ok().unwrap();
        drop(second);

        assert_eq!(counted(&places), 0);
    }
}
