//! What is remembered, and until when.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::layer::Terms;
use crate::{
    session::later,
    works::resolve::{Answer, LookupError, question::Question},
};

/// How long it is kept that a lookup failed.
const FAILURE: Duration = Duration::from_secs(1);

/// How long a stale answer is given at once after a lookup did not go well, and what
/// it is said to hold (RFC 8767 sections 5 and 4).
const STALE: Duration = Duration::from_secs(30);

type Outcome = Result<Answer, Arc<LookupError>>;

/// What is known of a name.
pub(in crate::works::resolve) enum Known {
    /// It holds; or it does not, and there is no use in asking just now.
    Enough(Result<Answer, LookupError>, Freshness),
    /// An answer that is good if there is no other.
    Stale(Answer),
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::works::resolve) enum Freshness {
    Fresh,
    Stale,
}

pub(in crate::works::resolve) struct Store {
    terms: Terms,
    state: Mutex<State>,
    #[cfg(feature = "metrics")]
    pub(super) counts: super::service::Counts,
}

#[derive(Default)]
struct State {
    entries: HashMap<Question, Entry>,
    /// What is forgotten first comes first.
    order: BTreeMap<(Instant, u64), Question>,
    last: u64,
}

struct Entry {
    outcome: Outcome,
    expires: Instant,
    /// Its place in the order.
    forgotten: (Instant, u64),
    /// When to ask again, although it is stale.
    retry: Instant,
}

impl Store {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            state: Mutex::default(),
            #[cfg(feature = "metrics")]
            counts: super::service::Counts::new(),
        }
    }

    pub(in crate::works::resolve) fn get(&self, question: &Question) -> Known {
        let now = Instant::now();
        let state = self.lock();
        let Some(entry) = state.entries.get(question) else {
            return Known::Nothing;
        };
        match &entry.outcome {
            outcome if now < entry.expires => {
                let left = entry.expires - now;
                let outcome = match outcome {
                    Ok(answer) => Ok(answer.clone().with_ttl(left)),
                    Err(error) => Err(error.again().holding(left)),
                };
                Known::Enough(outcome, Freshness::Fresh)
            }
            Ok(answer) if now < entry.forgotten.0 => {
                let answer = answer.clone().with_ttl(STALE);
                match now < entry.retry {
                    true => Known::Enough(Ok(answer), Freshness::Stale),
                    false => Known::Stale(answer),
                }
            }
            _ => Known::Nothing,
        }
    }

    /// Remembers what a lookup came to, for as long as it may.
    pub(in crate::works::resolve) fn put(
        &self,
        question: &Question,
        outcome: Result<&Answer, &LookupError>,
    ) {
        let (outcome, ttl) = match outcome {
            Ok(answer) => {
                let ttl = answer.ttl().unwrap_or(self.terms.ttl);
                let ttl = within(&self.terms.positive, ttl);
                (Ok(answer.clone()), ttl)
            }
            Err(error @ LookupError::NotFound { ttl, .. }) => {
                let ttl = within(&self.terms.negative, ttl.unwrap_or(self.terms.ttl));
                (Err(Arc::new(error.again())), ttl)
            }
            Err(error @ (LookupError::Failed { .. } | LookupError::TimedOut { .. })) => {
                if self.put_off(question) {
                    return;
                }
                (Err(Arc::new(error.again())), FAILURE)
            }
            Err(LookupError::Overloaded { .. } | LookupError::NoThread { .. }) => return,
        };
        let stale = match outcome {
            Ok(_) => self.terms.stale,
            Err(_) => Duration::ZERO,
        };
        let now = Instant::now();
        let expires = later(now, ttl);
        let mut state = self.lock();
        state.forget(question);
        if (ttl.is_zero() && stale.is_zero()) || self.terms.capacity == 0 {
            return;
        }
        if state.entries.len() >= self.terms.capacity
            && let Some((_, first)) = state.order.pop_first()
        {
            state.entries.remove(&first);
        }
        state.last = state.last.wrapping_add(1);
        let forgotten = (later(expires, stale), state.last);
        state.order.insert(forgotten, question.clone());
        let entry = Entry {
            outcome,
            expires,
            forgotten,
            retry: now,
        };
        state.entries.insert(question.clone(), entry);
    }

    /// The lookup did not go well: gives the stale answer, if there is one, without
    /// asking for a while.
    pub(super) fn put_off(&self, question: &Question) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        match state.entries.get_mut(question) {
            Some(entry) if entry.outcome.is_ok() && now < entry.forgotten.0 => {
                entry.retry = now + STALE;
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.order.remove(&entry.forgotten);
        }
    }
}

/// As `clamp`, which panics if the bounds are the wrong way round.
fn within(bounds: &RangeInclusive<Duration>, ttl: Duration) -> Duration {
    ttl.max(*bounds.start()).min(*bounds.end())
}
