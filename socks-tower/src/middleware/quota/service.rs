use std::{fmt, sync::Arc};

use tower_service::Service;

use super::{
    QuotaKey,
    account::{Accounts, Share},
};
use crate::session::{
    Error, ErrorKind, Requested, Stage, StageFuture, Stream, always_ready, opaque_future,
};

/// Lets in sessions that have something left of their quota, and on to `S`.
/// See the [module's page](crate::middleware::quota).
#[derive(Clone)]
pub struct EnforceQuota<S> {
    pub(super) accounts: Arc<Accounts>,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`EnforceQuota`].
    EnforceQuotaFuture<F> = StageFuture<F>
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
#[error("the quota of {0} is used up")]
struct QuotaExceeded(QuotaKey);

impl<Io, T, S> Service<Requested<Io, T>> for EnforceQuota<S>
where
    Io: Stream,
    T: Send + 'static,
    S: Stage<Requested<Io, T>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = EnforceQuotaFuture<S::Future>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io, T>) -> Self::Future {
        let own = admit(Arc::clone(&self.accounts), requested);
        EnforceQuotaFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn admit<Io: Stream, T>(
    accounts: Arc<Accounts>,
    mut requested: Requested<Io, T>,
) -> Result<Requested<Io, T>, Error> {
    let account = accounts.of(&requested.request.session);
    let error = match requested.client.watch(account.admits()).await? {
        Ok(true) => {
            let share = Arc::new(Share(account));
            requested.request.session.policy.add_throttle(share);
            return Ok(requested);
        }
        Ok(false) => Error::new(ErrorKind::Denied, QuotaExceeded(account.key().clone())),
        Err(error) => Error::new(ErrorKind::Other, error),
    };
    Err(requested.client.refuse(error).await)
}

impl<S> fmt::Debug for EnforceQuota<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnforceQuota").finish_non_exhaustive()
    }
}
