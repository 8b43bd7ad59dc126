use std::{fmt, num::NonZeroU64, sync::Arc};

use tower_layer::Layer;

use super::{Quota, QuotaKey, QuotaStore, account::Accounts};
use crate::session::{ClientKey, Session};

/// Keeps sessions to a [`QuotaStore`]. See the [module's page](crate::middleware::quota).
#[derive(Clone)]
pub struct QuotaLayer {
    accounts: Arc<Accounts>,
}

impl QuotaLayer {
    /// Bytes that are leased at a time, unless set.
    const LEASE: u64 = 1024 * 1024;

    /// A quota for each client, by its address. Those without an address (Unix
    /// sockets) count as one.
    pub fn per_client(quota: impl QuotaStore) -> Self {
        Self::new(quota, |session| {
            Some(QuotaKey::Client(ClientKey::of_session(session)))
        })
    }

    /// A quota for each user. Clients that nobody asked who they are count as one.
    pub fn per_identity(quota: impl QuotaStore) -> Self {
        Self::new(quota, |session| {
            Some(QuotaKey::Identity(session.identity.clone()))
        })
    }

    /// One quota for all.
    pub fn overall(quota: impl QuotaStore) -> Self {
        Self::new(quota, |_| Some(QuotaKey::Overall))
    }

    /// A quota for each `key`. Sessions for which it says `None` have none.
    pub fn by<K: Into<Arc<str>>>(
        quota: impl QuotaStore,
        key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        Self::new(quota, move |session| {
            key(session).map(|key| QuotaKey::By(key.into()))
        })
    }

    fn new(
        quota: impl QuotaStore,
        key: impl Fn(&Session) -> Option<QuotaKey> + Send + Sync + 'static,
    ) -> Self {
        let accounts = Accounts::new(Arc::new(key), Arc::new(quota), Self::LEASE);
        Self {
            accounts: Arc::new(accounts),
        }
    }

    /// Bytes to hold for a client or user at most. By default 1 MiB: what a proxy that
    /// crashes loses for each, and at 100 MB/s a question every 5 ms, as more are leased
    /// when half of them are used.
    #[must_use]
    pub fn with_lease(self, bytes: NonZeroU64) -> Self {
        Self {
            accounts: Arc::new(self.accounts.with_lease(bytes.get())),
        }
    }
}

impl fmt::Debug for QuotaLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for QuotaLayer {
    type Service = Quota<S>;

    fn layer(&self, inner: S) -> Quota<S> {
        Quota {
            accounts: Arc::clone(&self.accounts),
            inner,
        }
    }
}
