//! The upstreams of a pool, and which of them is next.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::time::Instant;

use super::{
    breaker::{Health, Try},
    sticky,
};

pub(super) struct Member<C> {
    pub(super) health: Arc<Health>,
    hash: u64,
    /// Locked while it is cloned, so that it need not be `Sync`.
    connector: Mutex<C>,
}

impl<C: Clone> Member<C> {
    pub(super) fn connector(&self) -> C {
        let connector = self.connector.lock();
        connector.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All of them, as they were when a request came.
pub(super) type Snapshot<C> = Arc<[Arc<Member<C>>]>;

pub(super) struct Members<C> {
    list: RwLock<Snapshot<C>>,
    /// How many [probes](super::UpstreamPool::probe) run.
    probes: AtomicUsize,
    random: RandomState,
    drawn: AtomicU64,
}

impl<C> Members<C> {
    pub(super) fn new() -> Self {
        Self {
            list: RwLock::new(Arc::new([])),
            probes: AtomicUsize::new(0),
            random: RandomState::new(),
            drawn: AtomicU64::new(0),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot<C> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&list)
    }

    /// In the place of one with the same name.
    pub(super) fn insert(&self, name: Arc<str>, connector: C) {
        let new = Arc::new(Member {
            hash: sticky::hash(&name),
            health: Arc::new(Health::new(Arc::clone(&name))),
            connector: Mutex::new(connector),
        });
        self.change(&name, Some(new));
    }

    pub(super) fn remove(&self, name: &str) {
        self.change(name, None);
    }

    fn change(&self, without: &str, new: Option<Arc<Member<C>>>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = |it: &&Arc<Member<C>>| **it.health.name() != *without;
        let changed = list.iter().filter(is_other).cloned().chain(new).collect();
        let old = std::mem::replace(&mut *list, changed);
        // Nobody waits until connectors are dropped.
        drop(list);
        drop(old);
    }

    /// While it is held, probes bring upstreams back, and requests do not.
    pub(super) fn begin_probes(&self) -> Probing<'_> {
        self.probes.fetch_add(1, Relaxed);
        Probing(&self.probes)
    }

    /// Begins a try of the upstream that is next: for a `key`, the first in its rank;
    /// else of two at random the one with fewer tunnels.
    pub(super) fn next<'a>(
        &self,
        list: &'a [Arc<Member<C>>],
        tried: &[usize],
        key: Option<u64>,
        now: Instant,
    ) -> Option<(usize, &'a Arc<Member<C>>, Try)> {
        let trials = self.probes.load(Relaxed) == 0;
        let left = || {
            list.iter().enumerate().filter(|(number, member)| {
                !tried.contains(number) && member.health.takes(now, trials)
            })
        };
        // Somebody else may have begun the trial of one meanwhile.
        for _ in 0..=list.len() {
            let (number, member) = match key {
                Some(key) => left().max_by_key(|(_, it)| sticky::rank(key, it.hash))?,
                None => {
                    let (one, other) = self.two_of(left().count());
                    let two = left().nth(one).into_iter().chain(left().nth(other));
                    two.min_by_key(|(_, it)| it.health.live())
                        .or_else(|| left().next())?
                }
            };
            if let Some(begun) = member.health.begin(now, trials) {
                return Some((number, member, begun));
            }
        }
        None
    }

    /// Two different numbers below `len`, if there are two.
    fn two_of(&self, len: usize) -> (usize, usize) {
        let len = len.max(1);
        let drawn = self.random.hash_one(self.drawn.fetch_add(1, Relaxed));
        let [high, low] = [drawn >> 32, drawn & u64::from(u32::MAX)];
        let below = |bits: u64, len: usize| usize::try_from(bits).unwrap_or(0) % len;
        let one = below(high, len);
        let step = 1 + below(low, len.saturating_sub(1).max(1));
        (one, (one + step) % len)
    }
}

pub(super) struct Probing<'a>(&'a AtomicUsize);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<C> fmt::Debug for Members<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.snapshot();
        let health = list.iter().map(|member| &member.health);
        f.debug_list().entries(health).finish()
    }
}
