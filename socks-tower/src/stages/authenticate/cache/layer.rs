use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{AuthCache, store::Store};

/// Remembers for a while whom a verifier has let in. See the
/// [module's page](crate::stages::authenticate::cache).
#[derive(Clone, Debug)]
#[must_use]
pub struct AuthCacheLayer {
    terms: Terms,
}

/// What is kept, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) capacity: usize,
    pub(super) ttl: Duration,
    pub(super) stale: Duration,
    pub(super) per_client: bool,
}

impl AuthCacheLayer {
    /// 10,000 answers: some two megabytes.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// An answer holds for `ttl`, from when it was asked for.
    pub fn new(ttl: Duration) -> Self {
        Self {
            terms: Terms {
                capacity: Self::DEFAULT_CAPACITY,
                ttl,
                stale: Duration::ZERO,
                per_client: false,
            },
        }
    }

    /// How many answers it remembers at most, 10,000 unless set; with 0, none.
    pub fn with_capacity(mut self, answers: usize) -> Self {
        self.terms.capacity = answers;
        self
    }

    /// For how long an answer is kept beyond its time, for when the verifier is
    /// [in trouble](crate::session::is_outage). By default, not at all.
    ///
    /// Each answer that it stands in for is asked about again after half a minute.
    pub fn with_stale(mut self, time: Duration) -> Self {
        self.terms.stale = time;
        self
    }

    /// An answer holds for clients of the same IP address: for a verifier that goes by
    /// that as well.
    pub fn per_client(mut self) -> Self {
        self.terms.per_client = true;
        self
    }
}

impl<V> Layer<V> for AuthCacheLayer {
    type Service = AuthCache<V>;

    fn layer(&self, verifier: V) -> AuthCache<V> {
        AuthCache {
            store: Arc::new(Store::new(self.terms.clone())),
            verifier,
        }
    }
}
