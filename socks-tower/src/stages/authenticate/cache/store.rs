//! Who is remembered, and until when.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Extensions;
use socks_core::Credentials;
use tokio::{sync::OnceCell, time::Instant};

use super::layer::Terms;
use crate::{
    session::{BoxError, Identity, is_outage, later},
    stages::authenticate::{
        Admitted, Attempt,
        fingerprint::{Fingerprint, Fingerprints},
    },
};

/// For how long an answer stands in for one that the verifier was in no state to give,
/// without asking again.
const RETRY: Duration = Duration::from_secs(30);

/// A good answer.
#[derive(Clone)]
pub(super) struct Kept {
    identity: Option<Identity>,
    extensions: Extensions,
}

pub(super) enum Known {
    /// It holds.
    Fresh(Kept),
    /// Somebody asks, or shall.
    Asking(Flight),
}

/// What all wait for who come with the same name and password.
type Verdict = OnceCell<Landed>;

/// What the others make of an answer.
#[derive(Clone)]
pub(super) enum Landed {
    LetIn(Kept),
    /// Each is to ask by itself: no two errors are the same.
    Ask,
    /// There is no use in asking: so the verifier's trouble was called.
    Outage(Arc<str>),
}

pub(super) struct Store {
    terms: Terms,
    /// None without randomness: then nothing is remembered.
    fingerprints: Option<Fingerprints>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Fingerprint, Entry>,
    /// What is forgotten first comes first.
    order: BTreeSet<(Instant, Fingerprint)>,
    flights: HashMap<Fingerprint, Arc<Verdict>>,
}

struct Entry {
    kept: Kept,
    /// When to ask anew.
    ask: Instant,
    forgotten: Instant,
}

impl Store {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            fingerprints: Fingerprints::new().ok(),
            state: Mutex::default(),
        }
    }

    pub(super) fn fingerprint(&self, attempt: &Attempt) -> Option<Fingerprint> {
        let Credentials { username, password } = &attempt.credentials;
        let client = attempt.session.client_addr;
        let client = client.filter(|_| self.terms.per_client);
        let client = client.map(|addr| addr.ip().to_string()).unwrap_or_default();
        let fields = [username.as_bytes(), password.as_bytes(), client.as_bytes()];
        Some(self.fingerprints.as_ref()?.of(fields))
    }

    pub(super) fn get(self: &Arc<Self>, fingerprint: Fingerprint) -> Known {
        let mut state = self.lock();
        match state.entries.get(&fingerprint) {
            Some(entry) if Instant::now() < entry.ask => Known::Fresh(entry.kept.clone()),
            _ => Known::Asking(Flight {
                verdict: Arc::clone(state.flights.entry(fingerprint).or_default()),
                store: Arc::clone(self),
                fingerprint,
            }),
        }
    }

    pub(super) fn clear(&self) {
        let cleared = std::mem::take(&mut *self.lock());
        // To free them takes a while: let attempts in first.
        drop(cleared);
    }

    /// Whether nobody is remembered, or asked about.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && state.order.is_empty() && state.flights.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether newcomers join this flight.
    fn is_open(&self, flight: &Flight) -> bool {
        let open = self.flights.get(&flight.fingerprint);
        open.is_some_and(|verdict| Arc::ptr_eq(verdict, &flight.verdict))
    }

    fn remember(&mut self, fingerprint: Fingerprint, kept: Kept, asked: Instant, terms: &Terms) {
        let ask = later(asked, terms.ttl);
        let forgotten = later(ask, terms.stale);
        let now = Instant::now();
        while let Some((first, old)) = self.order.first().copied()
            && (first <= now || self.entries.len() >= terms.capacity)
        {
            self.order.pop_first();
            self.entries.remove(&old);
        }
        if terms.capacity > 0 {
            self.order.insert((forgotten, fingerprint));
            let entry = Entry {
                kept,
                ask,
                forgotten,
            };
            self.entries.insert(fingerprint, entry);
        }
    }

    fn forget(&mut self, fingerprint: &Fingerprint) {
        if let Some(entry) = self.entries.remove(fingerprint) {
            self.order.remove(&(entry.forgotten, *fingerprint));
        }
    }

    /// Gives the stale answer, if there is one, without asking for a while.
    fn put_off(&mut self, fingerprint: &Fingerprint) -> Option<Kept> {
        let now = Instant::now();
        let entry = self.entries.get_mut(fingerprint)?;
        entry.ask = entry.forgotten.min(now + RETRY);
        (now < entry.forgotten).then(|| entry.kept.clone())
    }
}

/// One of those who wait for the same answer.
pub(super) struct Flight {
    pub(super) verdict: Arc<Verdict>,
    store: Arc<Store>,
    fingerprint: Fingerprint,
}

impl Flight {
    /// The verifier, which was asked at `asked`, has answered. If it was in trouble, what
    /// this gives counts for the one who asked, too.
    pub(super) fn land(&self, asked: Instant, answered: &Result<Admitted, BoxError>) -> Landed {
        let kept = answered.as_ref().ok().and_then(Kept::of);
        let outage = answered.as_ref().err().filter(|it| is_outage(&***it));
        let mut state = self.store.lock();
        let is_open = state.is_open(self);
        if is_open {
            state.flights.remove(&self.fingerprint);
        }
        if let Some(error) = outage {
            let stale = is_open.then(|| state.put_off(&self.fingerprint)).flatten();
            return stale.map_or_else(|| Landed::Outage(error.to_string().into()), Landed::LetIn);
        }
        // What was asked before all was cleared away is not put back.
        if is_open {
            state.forget(&self.fingerprint);
            if let Some(kept) = kept.clone() {
                state.remember(self.fingerprint, kept, asked, &self.store.terms);
            }
        }
        kept.map_or(Landed::Ask, Landed::LetIn)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        // All have hung up, and it never landed: there is the table's and this one.
        if state.is_open(self) && Arc::strong_count(&self.verdict) == 2 {
            state.flights.remove(&self.fingerprint);
        }
    }
}

impl Kept {
    /// None of a client whose stream is wrapped: that is done once.
    fn of(admitted: &Admitted) -> Option<Self> {
        (!admitted.wraps()).then(|| Self {
            identity: admitted.identity().cloned(),
            extensions: admitted.extensions().clone(),
        })
    }
}

impl From<Kept> for Admitted {
    fn from(kept: Kept) -> Self {
        Self::again(kept.identity, kept.extensions)
    }
}
