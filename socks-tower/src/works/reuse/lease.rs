//! A connection that is lent to one session after the other.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::{BoxStream, Guard};

/// A connection that no session uses.
pub(crate) struct Idle {
    /// Dropped before its guard.
    pub(super) io: BoxStream,
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) guard: Option<Guard>,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) peer: SocketAddr,
}

impl Idle {
    /// Ready once it is of no use: it has ended, or something came unasked.
    pub(crate) fn poll_useless(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0];
        let mut buf = ReadBuf::new(&mut space);
        Pin::new(&mut self.io).poll_read(cx, &mut buf).map(drop)
    }
}

/// In the extensions of a session: where it finds a connection, and leaves its own.
#[derive(Clone, Default)]
pub(crate) struct Lease(Arc<Mutex<Terms>>);

#[derive(Default)]
struct Terms {
    idle: Option<Idle>,
    /// The session has a connection that it may leave.
    is_leased: bool,
    /// And that is one that it found.
    is_again: bool,
    /// It wants no more of it.
    is_over: bool,
}

impl Lease {
    /// A session may use this one.
    pub(crate) fn of(idle: Option<Idle>) -> Self {
        let terms = Terms {
            idle,
            ..Terms::default()
        };
        Self(Arc::new(Mutex::new(terms)))
    }

    fn lock(&self) -> MutexGuard<'_, Terms> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that is there, if it leads to one of `addrs` and is of use.
    pub(super) fn take_for(&self, addrs: &[SocketAddr]) -> Option<Idle> {
        let mut idle = self.lock().idle.take()?;
        let mut cx = Context::from_waker(Waker::noop());
        let is_good = addrs.contains(&idle.peer) && idle.poll_useless(&mut cx).is_pending();
        let idle = is_good.then_some(idle)?;
        self.lock().is_again = true;
        Some(idle)
    }

    /// Whether the session's connection may be used again.
    pub(crate) fn is_leased(&self) -> bool {
        self.lock().is_leased
    }

    /// Whether it has been used before.
    pub(crate) fn is_again(&self) -> bool {
        self.lock().is_again
    }

    /// The session has said and heard all that it wanted. Once its end is passed on to
    /// the connection it reads an end there, and leaves it.
    pub(crate) fn over(&self) {
        self.lock().is_over = true;
    }

    /// The connection that it left.
    pub(crate) fn take(&self) -> Option<Idle> {
        self.lock().idle.take()
    }
}

/// The connection of a session that has a [`Lease`].
pub(super) struct Leased {
    /// None once it is dropped.
    idle: Option<Idle>,
    lease: Lease,
    /// All that was to be sent has been.
    has_left: bool,
    /// It has ended, or broken.
    is_useless: bool,
    /// Who waits for it to say more.
    reader: Option<Waker>,
}

impl Leased {
    pub(super) fn new(idle: Idle, lease: &Lease) -> Self {
        lease.lock().is_leased = true;
        Self {
            idle: Some(idle),
            lease: lease.clone(),
            has_left: false,
            is_useless: false,
            reader: None,
        }
    }

    /// Does something with it, which is of no use once that fails.
    fn with<T>(
        &mut self,
        io: impl FnOnce(Pin<&mut BoxStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(idle) = &mut self.idle else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let done = ready!(io(Pin::new(&mut idle.io)));
        self.is_useless |= done.is_err();
        Poll::Ready(done)
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.has_left && !self.is_useless {
            self.lease.lock().idle = self.idle.take();
        }
    }
}

impl AsyncRead for Leased {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_left {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let done = this.with(|io| io.poll_read(cx, buf));
        if done.is_pending() {
            this.reader = Some(cx.waker().clone());
        } else {
            this.is_useless |= buf.filled().len() == before;
        }
        done
    }
}

impl AsyncWrite for Leased {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().with(|io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().with(|io| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        let idle = self.idle.as_ref();
        idle.is_some_and(|idle| idle.io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().with(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.lease.lock().is_over {
            this.is_useless = true;
            return this.with(|io| io.poll_shutdown(cx));
        }
        ready!(this.with(|io| io.poll_flush(cx)))?;
        this.has_left = true;
        if let Some(reader) = this.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}
