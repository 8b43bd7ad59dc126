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
pub struct RateLimitLayer<K: LimitKey, Seen = Session> {
    key: KeyOf<K, Seen>,
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

impl<K: LimitKey, Seen> RateLimitLayer<K, Seen> {
    /// Lets each `key` have new connections at `rate`. Those for
    /// which it says `None` are not limited.
    ///
    /// A key may be found in a [`Session`], or in the whole of what passes: in a
    /// verifier's [`Attempt`](crate::Attempt), a connector's
    /// [`Request`](crate::Request). Clients choose what is in these; the bound on keys
    /// holds all the same.
    ///
    /// ```
    /// use socks_tower::{Attempt, Request, Session, middleware::{Rate, RateLimitLayer}};
    ///
    /// let per_address = RateLimitLayer::by(Rate::per_second(9), |session: &Session| {
    ///     session.local_addr
    /// });
    /// let per_target = RateLimitLayer::by(Rate::per_second(9), |request: &Request| {
    ///     Some(request.target.host.clone())
    /// });
    /// let per_name = RateLimitLayer::by(Rate::per_minute(9), |attempt: &Attempt| {
    ///     Some(attempt.credentials.username.clone())
    /// });
    /// # let _ = (per_address, per_target, per_name);
    /// ```
    #[must_use]
    pub fn by(rate: Rate, key: impl Fn(&Seen) -> Option<K> + Send + Sync + 'static) -> Self {
        Self::with_key(rate, KeyOf::new(key))
    }

    fn with_key(rate: Rate, key: KeyOf<K, Seen>) -> Self {
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

    pub(super) fn admit(&self, seen: &Seen) -> Admission<()> {
        let key = match self.key.of(seen) {
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

impl<K: LimitKey, Seen> Clone for RateLimitLayer<K, Seen> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            rate: self.rate,
            buckets: self.buckets.clone(),
            wait: self.wait,
        }
    }
}

impl<K: LimitKey, Seen> fmt::Debug for RateLimitLayer<K, Seen> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("rate", &self.rate)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<K: LimitKey, Seen, S> Layer<S> for RateLimitLayer<K, Seen> {
    type Service = RateLimit<K, S, Seen>;

    fn layer(&self, inner: S) -> RateLimit<K, S, Seen> {
        RateLimit {
            limit: self.clone(),
            inner,
        }
    }
}
