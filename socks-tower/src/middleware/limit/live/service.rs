use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Hold, LiveLimitLayer, layer::Permit};
use crate::{
    middleware::{admission::Admitted, limit::LimitKey},
    session::{BoxError, Error, HasSession},
};

/// Calls `S` while there are fewer connections than may be. See the
/// [module's page](crate::middleware::limit).
#[derive(Clone, Debug)]
pub struct LiveLimit<K: LimitKey, S> {
    pub(super) limit: LiveLimitLayer<K>,
    pub(super) inner: S,
}

impl<T, K, S> Service<T> for LiveLimit<K, S>
where
    T: HasSession + Send + 'static,
    K: LimitKey,
    S: Service<T, Response: Hold, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    type Response = <S::Response as Hold>::Holding;
    type Error = Error;
    type Future = LiveLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::passed)
    }

    fn call(&mut self, passing: T) -> Self::Future {
        let admission = self.limit.admit(passing.session());
        LiveLimitFuture {
            admitted: admission.enter(&mut self.inner, passing),
        }
    }
}

pin_project! {
    /// The future of [`LiveLimit`].
    #[must_use = "futures do nothing unless polled"]
    pub struct LiveLimitFuture<F> {
        #[pin]
        admitted: Admitted<F, Permit>,
    }
}

impl<F, R, E> Future for LiveLimitFuture<F>
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

impl<F> fmt::Debug for LiveLimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveLimitFuture(..)")
    }
}
