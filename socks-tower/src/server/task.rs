//! The task of a session.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    middleware::observe::ObserveFuture,
    session::{BoxError, Transfer},
};

/// What cuts a server's sessions.
#[derive(Default)]
pub(super) struct Cut {
    token: CancellationToken,
    /// That it was cancelled, without a lock.
    is_cut: AtomicBool,
}

impl Cut {
    pub(super) fn now(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.token.cancel();
    }
}

/// Cuts them when it is dropped.
pub(super) struct CutAtTheEnd(pub(super) Arc<Cut>);

impl Drop for CutAtTheEnd {
    fn drop(&mut self) {
        self.0.now();
    }
}

pin_project! {
    /// Runs a session to its end, or until it is cut.
    ///
    /// An `async fn` would have room for the session twice.
    pub(super) struct SessionTask<F> {
        #[pin]
        session: ObserveFuture<F>,
        #[pin]
        cut: WaitForCancellationFutureOwned,
        server: Arc<Cut>,
        // Its task will be woken if it is cut.
        waits: bool,
    }
}

impl<F> SessionTask<F> {
    pub(super) fn new(session: ObserveFuture<F>, cut: &Arc<Cut>) -> Self {
        Self {
            session,
            cut: cut.token.clone().cancelled_owned(),
            server: Arc::clone(cut),
            waits: false,
        }
    }
}

impl<F, E> Future for SessionTask<F>
where
    F: Future<Output = Result<Transfer, E>>,
    E: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // Whoever observes it has been told how it ended.
        if this.session.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // To wait takes two locks, so do it once and not whenever a byte moves.
        // A task is always woken by the same waker.
        if *this.waits && !this.server.is_cut.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        *this.waits = true;
        this.cut.poll(cx)
    }
}
