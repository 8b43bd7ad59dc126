//! A tunnel that carries bulk, on a thread for such.

use std::{
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::{runtime::Handle, task::JoinHandle, time::Sleep};
use tracing::Instrument;

use super::{future::poll_end, tunnel::Tunnel};
use crate::session::{Stream, Transfer};

/// Its session's end of it. Dropping that cuts the tunnel at once, as it would if it had
/// stayed, though it may take the rest of a turn.
pub(super) struct Moved<Io, Up> {
    tunnel: Shared<Io, Up>,
    task: JoinHandle<Option<Transfer>>,
}

/// Until it has ended. Of the two who have it, one waits.
struct Shared<Io, Up>(Arc<Mutex<Option<Tunnel<Io, Up>>>>);

impl<Io, Up> Shared<Io, Up> {
    fn lock(&self) -> MutexGuard<'_, Option<Tunnel<Io, Up>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Io: Stream, Up: Stream> Moved<Io, Up> {
    /// Hands the tunnel over.
    pub(super) fn to(runtime: &Handle, mut tunnel: Tunnel<Io, Up>) -> Self {
        {
            let _there = runtime.enter();
            tunnel.settle();
        }
        let tunnel = Arc::new(Mutex::new(Some(tunnel)));
        let carries = Carries {
            tunnel: Shared(Arc::clone(&tunnel)),
            sleep: None,
        };
        let task = runtime.spawn(carries.in_current_span());
        let tunnel = Shared(tunnel);
        Self { tunnel, task }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Transfer> {
        match ready!(Pin::new(&mut self.task).poll(cx)).map_err(|error| error.try_into_panic()) {
            Ok(Some(transfer)) => Poll::Ready(transfer),
            Err(Ok(panic)) => resume_unwind(panic),
            // Its thread has ended, and so will whoever waits for it.
            Ok(None) | Err(Err(_)) => Poll::Pending,
        }
    }
}

impl<Io, Up> Drop for Moved<Io, Up> {
    fn drop(&mut self) {
        self.task.abort();
        drop(self.tunnel.lock().take());
    }
}

pin_project! {
    struct Carries<Io, Up> {
        tunnel: Shared<Io, Up>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<Io: Stream, Up: Stream> Future for Carries<Io, Up> {
    /// None if it was cut.
    type Output = Option<Transfer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut place = this.tunnel.lock();
        let Some(tunnel) = &mut *place else {
            return Poll::Ready(None);
        };
        let end = ready!(poll_end(tunnel, this.sleep, cx));
        Poll::Ready(place.take().map(|tunnel| tunnel.finish(end)))
    }
}
