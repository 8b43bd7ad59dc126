use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{RedisLimitsLayer, layer::Permit};
use crate::{
    middleware::{admission::Admitted, limit::Hold},
    session::{BoxError, Error, HasSession},
};

/// Calls `S` if all nodes together have fewer connections than may be. See the
/// [module's page](crate::middleware::redis#limits).
#[derive(Clone, Debug)]
pub struct RedisLimits<S> {
    pub(super) limits: RedisLimitsLayer,
    pub(super) inner: S,
}

impl<T, S> Service<T> for RedisLimits<S>
where
    T: HasSession + Send + 'static,
    S: Service<T, Response: Hold, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    type Response = <S::Response as Hold>::Holding;
    type Error = Error;
    type Future = RedisLimitsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::passed)
    }

    fn call(&mut self, passing: T) -> Self::Future {
        let admission = self.limits.admit(passing.session());
        RedisLimitsFuture {
            admitted: admission.enter(&mut self.inner, passing),
        }
    }
}

pin_project! {
    /// The future of [`RedisLimits`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RedisLimitsFuture<F> {
        #[pin]
        admitted: Admitted<F, Permit>,
    }
}

impl<F, R, E> Future for RedisLimitsFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: Hold,
    E: Into<BoxError>,
{
    type Output = Result<R::Holding, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (response, permit) = ready!(self.project().admitted.poll_with_permit(cx))?;
        Poll::Ready(Ok(response.hold(permit)))
    }
}

impl<F> fmt::Debug for RedisLimitsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLimitsFuture(..)")
    }
}
