use std::{any::Any, fmt, sync::Arc, time::Duration};

use tokio::time::timeout;
use tower_layer::Layer;

use super::{LiveLimit, places::Places};
use crate::{
    middleware::{
        admission::Admission,
        limit::{
            LimitKey, Limited,
            key::{KeyOf, MAX_KEYS},
        },
    },
    session::{ClientKey, Error, Identity, Session},
};

/// Held for as long as a connection is live; none if it is not limited. It is
/// boxed, so that an idle tunnel is no larger for it than two pointers.
pub(super) type Permit = Option<Box<dyn Any + Send>>;

/// Limits how many connections are live at once. See the
/// [module's page](crate::middleware::limit).
///
/// Its clones, and all that it is wrapped around, count together.
#[derive(Clone)]
pub struct LiveLimitLayer<K: LimitKey> {
    key: KeyOf<K>,
    places: Arc<Places<K>>,
    wait: Option<Duration>,
}

impl LiveLimitLayer<()> {
    /// Lets `max` be live in all.
    #[must_use]
    pub fn overall(max: usize) -> Self {
        Self::with_key(max, KeyOf::overall())
    }
}

impl LiveLimitLayer<Option<ClientKey>> {
    /// Lets each client have `max`. Those without an address (Unix sockets)
    /// count as one.
    #[must_use]
    pub fn per_client(max: usize) -> Self {
        Self::with_key(max, KeyOf::client())
    }
}

impl LiveLimitLayer<Option<Identity>> {
    /// Lets each identity have `max`. Clients that nobody asked who they are
    /// count as one. It stands behind authentication, or around the
    /// connector: before, every session fails.
    #[must_use]
    pub fn per_identity(max: usize) -> Self {
        Self::with_key(max, KeyOf::identity())
    }
}

impl<K: LimitKey> LiveLimitLayer<K> {
    /// Lets each `key` have `max`. Sessions for which it says
    /// `None` are not limited.
    #[must_use]
    pub fn by(max: usize, key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static) -> Self {
        Self::with_key(max, KeyOf::new(key))
    }

    fn with_key(max: usize, key: KeyOf<K>) -> Self {
        Self {
            key,
            places: Arc::new(Places::new(max, MAX_KEYS)),
            wait: None,
        }
    }

    /// Those over the limit wait for a place, in order of arrival, and are
    /// refused after `max`.
    #[must_use]
    pub fn with_wait(mut self, max: Duration) -> Self {
        self.wait = Some(max);
        self
    }

    /// Lets at most `max_keys` keys have connections at a time, 65,536 unless
    /// set. The layer counts anew, apart from its earlier clones.
    #[must_use]
    pub fn with_max_keys(mut self, max_keys: usize) -> Self {
        self.places = Arc::new(Places::new(self.places.max(), max_keys));
        self
    }

    pub(super) fn admit(&self, session: &Session) -> Admission<Permit> {
        let key = match self.key.of(session) {
            Ok(Some(key)) => key,
            Ok(None) => return Admission::Admitted(None),
            Err(misplaced) => return Admission::Refused(misplaced),
        };
        let Some(claim) = self.places.claim(key) else {
            let max = self.places.max_keys();
            return Admission::Refused(Limited::Keys { max }.into());
        };
        match (claim.take_place(), self.wait) {
            (Ok(place), _) => Admission::Admitted(Some(Box::new(place))),
            (Err(_), None) => {
                let max = self.places.max();
                Admission::Refused(Limited::Live { max }.into())
            }
            (Err(claim), Some(max)) => Admission::Waiting(Box::pin(async move {
                match timeout(max, claim.wait_for_place()).await {
                    Ok(Some(place)) => Ok(Some(Box::new(place) as _)),
                    Ok(None) | Err(_) => Err(Error::from(Limited::Waited { max })),
                }
            })),
        }
    }
}

impl<K: LimitKey> fmt::Debug for LiveLimitLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveLimitLayer")
            .field("max", &self.places.max())
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<K: LimitKey, S> Layer<S> for LiveLimitLayer<K> {
    type Service = LiveLimit<K, S>;

    fn layer(&self, inner: S) -> LiveLimit<K, S> {
        LiveLimit {
            limit: self.clone(),
            inner,
        }
    }
}
