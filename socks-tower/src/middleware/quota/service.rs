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
pub struct Quota<S> {
    pub(super) accounts: Arc<Accounts>,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Quota`].
    QuotaFuture<F> = StageFuture<F>
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
#[error("the quota of {0} is used up")]
struct QuotaExceeded(QuotaKey);

impl<Io, S> Service<Requested<Io>> for Quota<S>
where
    Io: Stream,
    S: Stage<Requested<Io>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = QuotaFuture<S::Future>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let own = admit(Arc::clone(&self.accounts), requested);
        QuotaFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn admit<Io: Stream>(
    accounts: Arc<Accounts>,
    mut requested: Requested<Io>,
) -> Result<Requested<Io>, Error> {
    let Some(account) = accounts.of(&requested.request.session) else {
        return Ok(requested);
    };
    let error = match requested.client.watch(account.admits()).await? {
        Ok(true) => {
            let policy = &mut requested.request.session.policy;
            policy.add_throttle(Share(account));
            return Ok(requested);
        }
        Ok(false) => Error::new(ErrorKind::Denied, QuotaExceeded(account.key().clone())),
        Err(error) => Error::new(ErrorKind::Other, error),
    };
    Err(requested.client.refuse(error).await)
}

impl<S> fmt::Debug for Quota<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").finish_non_exhaustive()
    }
}
