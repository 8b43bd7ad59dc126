use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{EnforceQuota, Quota, account::Accounts, key::Per};

/// Keeps sessions to a [`Quota`]. See the [module's page](crate::middleware::quota).
#[derive(Clone)]
pub struct QuotaLayer {
    accounts: Arc<Accounts>,
}

impl QuotaLayer {
    /// Bytes that are leased at a time, unless set.
    const LEASE: u64 = 1024 * 1024;

    /// A quota for each client, by its address.
    pub fn per_client(quota: impl Quota) -> Self {
        Self::new(Per::Client, quota)
    }

    /// A quota for each user.
    pub fn per_identity(quota: impl Quota) -> Self {
        Self::new(Per::Identity, quota)
    }

    /// One quota for all.
    pub fn overall(quota: impl Quota) -> Self {
        Self::new(Per::Overall, quota)
    }

    fn new(per: Per, quota: impl Quota) -> Self {
        let accounts = Accounts::new(per, Arc::new(quota), Self::LEASE);
        Self {
            accounts: Arc::new(accounts),
        }
    }

    /// Bytes to lease at a time for a client or user. By default 1 MiB: what a
    /// proxy that crashes loses for each, and at 100 MB/s a question every 10 ms.
    #[must_use]
    pub fn with_lease(self, bytes: u64) -> Self {
        Self {
            accounts: Arc::new(self.accounts.with_lease(bytes)),
        }
    }
}

impl fmt::Debug for QuotaLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for QuotaLayer {
    type Service = EnforceQuota<S>;

    fn layer(&self, inner: S) -> EnforceQuota<S> {
        EnforceQuota {
            accounts: Arc::clone(&self.accounts),
            inner,
        }
    }
}
