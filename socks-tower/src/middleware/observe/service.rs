use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Observer;
use crate::session::{Accepted, BoxError, Error, Transfer, watch::Watching};

/// Tells an [`Observer`] of the sessions that `S` serves. See the
/// [module's page](crate::middleware::observe).
#[derive(Clone)]
pub struct Observe<S> {
    pub(super) observer: Arc<dyn Observer>,
    pub(super) inner: S,
}

impl<Io, S> Service<Accepted<Io>> for Observe<S>
where
    S: Service<Accepted<Io>, Response = Transfer, Error: Into<BoxError>>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::passed)
    }

    fn call(&mut self, mut accepted: Accepted<Io>) -> Self::Future {
        let watching = Watching::begin(&self.observer, &mut accepted);
        let session = Watching::run(Some(&watching), || self.inner.call(accepted));
        ObserveFuture::new(session, Some(watching))
    }
}

impl<S: fmt::Debug> fmt::Debug for Observe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Observe`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ObserveFuture<F> {
        // Gone when it is done. Dropped before the end is told in any case: by
        // then its connections are closed, and all is known of it.
        #[pin]
        session: Option<F>,
        watching: Option<Watching>,
    }
}

impl<F> ObserveFuture<F> {
    /// Watched or not, so that the server's task is of one type.
    pub(crate) fn new(session: F, watching: Option<Watching>) -> Self {
        Self {
            session: Some(session),
            watching,
        }
    }
}

impl<F, E> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Transfer, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Transfer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(session) = this.session.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let outcome = ready!(Watching::run(this.watching.as_ref(), || session.poll(cx)));
        let outcome = outcome.map_err(Error::passed);
        this.session.set(None);
        if let Some(watching) = this.watching.take() {
            watching.ended(outcome.as_ref());
        }
        Poll::Ready(outcome)
    }
}

impl<F> fmt::Debug for ObserveFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveFuture").finish_non_exhaustive()
    }
}
