use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::RateLimitLayer;
use crate::{
    middleware::{admission::Admitted, limit::LimitKey, shows::Shows},
    session::{BoxError, Error, Session},
};

/// Calls `S` while new connections are no more than may be. See the
/// [module's page](crate::middleware::limit).
#[derive(Debug)]
pub struct RateLimit<K: LimitKey, S, Seen = Session> {
    pub(super) limit: RateLimitLayer<K, Seen>,
    pub(super) inner: S,
}

impl<K: LimitKey, S: Clone, Seen> Clone for RateLimit<K, S, Seen> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<T, K, S, Seen> Service<T> for RateLimit<K, S, Seen>
where
    T: Shows<Seen> + Send + 'static,
    K: LimitKey,
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::passed)
    }

    fn call(&mut self, passing: T) -> Self::Future {
        let admission = self.limit.admit(passing.shown());
        RateLimitFuture {
            admitted: admission.enter(&mut self.inner, passing),
        }
    }
}

pin_project! {
    /// The future of [`RateLimit`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RateLimitFuture<F> {
        #[pin]
        admitted: Admitted<F, ()>,
    }
}

impl<F, R, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().admitted.poll(cx)
    }
}

impl<F> fmt::Debug for RateLimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RateLimitFuture(..)")
    }
}
