use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;
use tower_layer::Layer;

use super::{Rate, RateLimit, buckets::Buckets};
use crate::{
    middleware::{
        admission::Admission,
        limit::{
            LimitKey, Limited,
            key::{KeyOf, MAX_KEYS},
        },
    },
    session::{ClientKey, Identity, Session},
};

/// Limits how many new connections there are in a time. See the
/// [module's page](crate::middleware::limit).
///
/// Its clones, and all that it is wrapped around, count together.
#[derive(Clone)]
pub struct RateLimitLayer<K: LimitKey> {
    key: KeyOf<K>,
    rate: Rate,
    /// None if nothing is let through.
    buckets: Option<Arc<Buckets<K>>>,
    wait: Option<Duration>,
}

impl RateLimitLayer<()> {
    /// Lets new connections in at `rate` in all.
    #[must_use]
    pub fn overall(rate: Rate) -> Self {
        Self::with_key(rate, KeyOf::overall())
    }
}

impl RateLimitLayer<Option<ClientKey>> {
    /// Lets each client have new connections at `rate`. Those without an
    /// address (Unix sockets) count as one.
    #[must_use]
    pub fn per_client(rate: Rate) -> Self {
        Self::with_key(rate, KeyOf::client())
    }
}

impl RateLimitLayer<Option<Identity>> {
    /// Lets each identity have new connections at `rate`. Clients that nobody
    /// asked who they are count as one. It stands behind authentication, or around
    /// the connector: before, every session fails.
    #[must_use]
    pub fn per_identity(rate: Rate) -> Self {
        Self::with_key(rate, KeyOf::identity())
    }
}

impl<K: LimitKey> RateLimitLayer<K> {
    /// Lets each `key` have new connections at `rate`. Sessions for
    /// which it says `None` are not limited.
    #[must_use]
    pub fn by(rate: Rate, key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static) -> Self {
        Self::with_key(rate, KeyOf::new(key))
    }

    fn with_key(rate: Rate, key: KeyOf<K>) -> Self {
        Self {
            key,
            rate,
            buckets: None,
            wait: None,
        }
        .with_max_keys(MAX_KEYS)
    }

    /// Those over the limit wait until it is their turn, in order of arrival,
    /// and are refused after `max`.
    #[must_use]
    pub fn with_wait(mut self, max: Duration) -> Self {
        self.wait = Some(max);
        self
    }

    /// Keeps count of at most `max_keys` keys at a time, 65,536 unless set. The
    /// layer counts anew, apart from its earlier clones.
    #[must_use]
    pub fn with_max_keys(mut self, max_keys: usize) -> Self {
        let quota = self.rate.quota();
        self.buckets = quota.map(|quota| Arc::new(Buckets::new(quota, max_keys)));
        self
    }

    pub(super) fn admit(&self, session: &Session) -> Admission<()> {
        let key = match self.key.of(session) {
            Ok(Some(key)) => key,
            Ok(None) => return Admission::Admitted(()),
            Err(misplaced) => return Admission::Refused(misplaced),
        };
        let too_many = |retry_after| {
            let rate = self.rate;
            Admission::Refused(Limited::Rate { rate, retry_after }.into())
        };
        let Some(buckets) = &self.buckets else {
            return too_many(None);
        };
        let Some(bucket) = buckets.bucket(key) else {
            let max = buckets.max_keys();
            return Admission::Refused(Limited::Keys { max }.into());
        };
        let Some(max) = self.wait else {
            return match bucket.take() {
                Ok(()) => Admission::Admitted(()),
                Err(wait) => too_many(Some(wait)),
            };
        };
        match bucket.take_in_turn() {
            Ok(()) => Admission::Admitted(()),
            Err(wait) if wait > max => too_many(Some(wait)),
            Err(_) => Admission::Waiting(Box::pin(async move {
                let waited = timeout(max, bucket.wait()).await.is_ok();
                waited.then_some(()).ok_or(Limited::Waited { max }.into())
            })),
        }
    }
}

impl<K: LimitKey> fmt::Debug for RateLimitLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("rate", &self.rate)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<K: LimitKey, S> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimit<K, S>;

    fn layer(&self, inner: S) -> RateLimit<K, S> {
        RateLimit {
            limit: self.clone(),
            inner,
        }
    }
}
