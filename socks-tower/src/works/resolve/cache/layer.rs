use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Cache, store::Store};

/// Remembers what a resolver answers. See the
/// [module's page](crate::works::resolve::cache).
#[derive(Clone, Debug)]
pub struct CacheLayer {
    pub(super) terms: Terms,
}

/// What is kept, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) capacity: usize,
    pub(super) ttl: Duration,
    pub(super) positive: RangeInclusive<Duration>,
    pub(super) negative: RangeInclusive<Duration>,
    pub(super) stale: Duration,
}

impl CacheLayer {
    /// 10,000 names: a few megabytes.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// Half a minute for answers that do not say: short enough for whoever moves a
    /// service, long enough for a page's connections.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(30);

    /// Addresses are kept for a day at most (RFC 8767 section 4 recommends to bound it
    /// by days).
    pub const DEFAULT_POSITIVE: RangeInclusive<Duration> =
        Duration::ZERO..=Duration::from_secs(86_400);

    /// That a name has none is kept for an hour at most; one to three is what RFC 2308
    /// section 5 has found to work well.
    pub const DEFAULT_NEGATIVE: RangeInclusive<Duration> =
        Duration::ZERO..=Duration::from_secs(3_600);

    /// The default bounds, and nothing stale.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            terms: Terms {
                capacity: Self::DEFAULT_CAPACITY,
                ttl: Self::DEFAULT_TTL,
                positive: Self::DEFAULT_POSITIVE,
                negative: Self::DEFAULT_NEGATIVE,
                stale: Duration::ZERO,
            },
        }
    }

    /// How many names it remembers at most; with 0, none.
    #[must_use]
    pub const fn with_capacity(mut self, names: usize) -> Self {
        self.terms.capacity = names;
        self
    }

    /// How long an answer holds that does not say.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// The least and the most time for which addresses are kept, whatever they say.
    #[must_use]
    pub fn with_positive(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.terms.positive = bounds;
        self
    }

    /// The least and the most time for which it is kept that a name has no address,
    /// whatever its zone says.
    #[must_use]
    pub fn with_negative(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.terms.negative = bounds;
        self
    }

    /// For how long addresses are kept beyond their time, for when no lookup goes well.
    /// By default, not at all; RFC 8767 section 5 suggests one to three days.
    #[must_use]
    pub const fn with_stale(mut self, time: Duration) -> Self {
        self.terms.stale = time;
        self
    }
}

impl CacheLayer {
    /// Around a resolver that knows the cache around it.
    pub(in crate::works::resolve) fn with<R>(
        self,
        inner: impl FnOnce(&Arc<Store>) -> R,
    ) -> Cache<R> {
        let store = Arc::new(Store::new(self.terms));
        let inner = inner(&store);
        Cache { store, inner }
    }
}

impl Default for CacheLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Layer<R> for CacheLayer {
    type Service = Cache<R>;

    fn layer(&self, inner: R) -> Cache<R> {
        self.clone().with(|_| inner)
    }
}
