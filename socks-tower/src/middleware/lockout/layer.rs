use std::{fmt, hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use tower_layer::Layer;

#[cfg(feature = "redis")]
use super::fleet::Fleet;
use super::{
    Lockout, LockoutGate,
    count::Count,
    record::{LONGEST, Records, Terms},
};
#[cfg(feature = "redis")]
use crate::middleware::Redis;
use crate::session::{BoxError, ClientKey, Session, is_outage};

type Counts = Arc<dyn Fn(&BoxError) -> bool + Send + Sync>;

/// Locks out clients that fail to authenticate again and again. See the
/// [module's page](crate::middleware::lockout).
///
/// Its clones, and all that it is wrapped around, count together.
pub struct LockoutLayer<K = ClientKey, Seen = Session> {
    key: Arc<dyn Fn(&Seen) -> Option<K> + Send + Sync>,
    ledger: Ledger<K>,
}

/// Who failed how often, and what follows.
pub(super) struct Ledger<K> {
    terms: Terms,
    counts: Counts,
    pub(super) count: Arc<Count<K>>,
}

impl<K: Clone + Eq + Hash> Ledger<K> {
    /// What the verifier said of an attempt of `key`.
    pub(super) fn note<T>(&self, key: &K, verdict: &Result<T, BoxError>) {
        match verdict {
            Ok(_) => self.count.succeeded(key),
            Err(error) if (self.counts)(error) => self.count.failed(key, &self.terms),
            Err(_) => {}
        }
    }
}

impl<K> Clone for Ledger<K> {
    fn clone(&self) -> Self {
        Self {
            terms: self.terms,
            counts: Arc::clone(&self.counts),
            count: Arc::clone(&self.count),
        }
    }
}

impl LockoutLayer {
    /// Locks a client out after 5 failures, for a minute at first and for an
    /// hour at most, and forgets after 10 minutes.
    #[must_use]
    pub fn new() -> Self {
        Self::by(ClientKey::of_session)
    }
}

impl<K, Seen> LockoutLayer<K, Seen>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// How many keys are kept in mind, unless set.
    const MAX_KEYS: usize = 65_536;

    /// As [`new`](LockoutLayer::new), but locks out those with the same `key`;
    /// never those for which it says `None`.
    ///
    /// A key may be found in a [`Session`], or in the [`Attempt`](crate::Attempt)
    /// that the verifier is asked about:
    ///
    /// ```
    /// use socks_tower::{Attempt, Users, middleware::{ClientKey, LockoutLayer}};
    /// use tower::Layer;
    ///
    /// let lockout = LockoutLayer::by(|attempt: &Attempt| {
    ///     let client = ClientKey::of_session(&attempt.session)?;
    ///     Some((client, attempt.credentials.username.clone()))
    /// });
    /// let verifier = lockout.layer(Users::new());
    /// # let _ = verifier;
    /// ```
    ///
    /// By a name alone, whoever knows it can lock its owner out.
    #[must_use]
    pub fn by(key: impl Fn(&Seen) -> Option<K> + Send + Sync + 'static) -> Self {
        let terms = Terms {
            max_failures: 5,
            first: Duration::from_secs(60),
            longest: Duration::from_secs(60 * 60),
            memory: Duration::from_secs(10 * 60),
        };
        Self {
            key: Arc::new(key),
            ledger: Ledger {
                terms,
                counts: Arc::new(|error| !is_outage(&**error)),
                count: Arc::new(Count::Alone(Records::new(Self::MAX_KEYS))),
            },
        }
    }

    /// How many failures lock a client out.
    #[must_use]
    pub fn with_max_failures(mut self, max: NonZeroU32) -> Self {
        self.ledger.terms.max_failures = max.get();
        self
    }

    /// For how long a client is locked out after that many failures; with each
    /// further one twice as long.
    #[must_use]
    pub fn with_first_lock(mut self, first: Duration) -> Self {
        self.ledger.terms.first = first;
        self
    }

    /// For how long a client is locked out at most.
    #[must_use]
    pub fn with_longest_lock(mut self, longest: Duration) -> Self {
        self.ledger.terms.longest = longest.min(LONGEST);
        self
    }

    /// How long after its last failure, or the end of its lock, a client is as
    /// good as new.
    #[must_use]
    pub fn with_forget_after(mut self, after: Duration) -> Self {
        self.ledger.terms.memory = after.min(LONGEST);
        self
    }

    /// Keeps at most `max` clients, or keys, in mind, 65,536 unless set. The layer
    /// counts anew, apart from its earlier clones.
    #[must_use]
    pub fn with_max_keys(mut self, max: usize) -> Self {
        self.ledger.count = Arc::new(self.ledger.count.with_max_keys(max));
        self
    }

    /// Counts on `redis`, together with all nodes whose layer has this `name`; up to
    /// 65,536 keys, unless set later. See [A fleet](crate::middleware::lockout#a-fleet).
    ///
    /// Keys of one text count as one. What is no text, such as a pair, is made one by
    /// [`by`](Self::by).
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn shared(mut self, redis: &Redis, name: &str) -> Self
    where
        K: fmt::Display,
    {
        let (redis, name) = (redis.clone(), name.to_owned());
        let fleet = Fleet::new(redis, name, K::to_string, Self::MAX_KEYS);
        self.ledger.count = Arc::new(Count::Fleet(fleet));
        self
    }

    /// Counts those errors of the verifier for which `counts` says so.
    #[must_use]
    pub fn with_counted(
        mut self,
        counts: impl Fn(&BoxError) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.ledger.counts = Arc::new(counts);
        self
    }

    /// A layer for between the stages that turns away those that are locked
    /// out.
    #[must_use]
    pub fn gate(&self) -> LockoutGateLayer<K, Seen> {
        LockoutGateLayer {
            lockout: self.clone(),
        }
    }

    pub(super) fn key(&self, seen: &Seen) -> Option<K> {
        (self.key)(seen)
    }

    pub(super) fn ledger(&self) -> &Ledger<K> {
        &self.ledger
    }
}

impl Default for LockoutLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, Seen> Clone for LockoutLayer<K, Seen> {
    fn clone(&self) -> Self {
        Self {
            key: Arc::clone(&self.key),
            ledger: self.ledger.clone(),
        }
    }
}

impl<K, Seen> fmt::Debug for LockoutLayer<K, Seen> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockoutLayer")
            .field("terms", &self.ledger.terms)
            .finish_non_exhaustive()
    }
}

impl<K, Seen, S> Layer<S> for LockoutLayer<K, Seen> {
    type Service = Lockout<S, K, Seen>;

    fn layer(&self, inner: S) -> Lockout<S, K, Seen> {
        Lockout {
            lockout: self.clone(),
            inner,
        }
    }
}

/// Turns away clients that are locked out. See the
/// [module's page](crate::middleware::lockout); [`LockoutLayer::gate`] makes it.
#[derive(Debug)]
pub struct LockoutGateLayer<K = ClientKey, Seen = Session> {
    lockout: LockoutLayer<K, Seen>,
}

impl<K, Seen> Clone for LockoutGateLayer<K, Seen> {
    fn clone(&self) -> Self {
        Self {
            lockout: self.lockout.clone(),
        }
    }
}

impl<K, Seen, S> Layer<S> for LockoutGateLayer<K, Seen> {
    type Service = LockoutGate<S, K, Seen>;

    fn layer(&self, inner: S) -> LockoutGate<S, K, Seen> {
        LockoutGate {
            lockout: self.lockout.clone(),
            inner,
        }
    }
}
