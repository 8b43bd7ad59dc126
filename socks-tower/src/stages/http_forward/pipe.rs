//! A stream in memory, between what speaks HTTP to an origin and the session that
//! carries it there.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::Notify,
};

/// How many bytes wait in each direction, at most.
const LEN: usize = 32 * 1024;

/// What a session has made of its end.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    /// It has been shut down, and not just dropped.
    has_ended: AtomicBool,
    /// The other end is dropped.
    pub(super) left: Notify,
}

/// The end of whoever speaks HTTP.
pub(super) struct Near {
    io: DuplexStream,
    carried: Arc<Carried>,
}

/// The end of the session, for which it is its client.
pub(super) struct Far {
    io: DuplexStream,
    carried: Arc<Carried>,
}

impl Drop for Near {
    fn drop(&mut self) {
        self.carried.left.notify_one();
    }
}

pub(super) fn pipe() -> (Near, Far, Arc<Carried>) {
    let (near, far) = duplex(LEN);
    let carried = Arc::new(Carried::default());
    let near = Near {
        io: near,
        carried: Arc::clone(&carried),
    };
    let far = Far {
        io: far,
        carried: Arc::clone(&carried),
    };
    (near, far, carried)
}

impl AsyncRead for Near {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        // A session that was cut short must not look like one that has ended.
        if buf.filled().len() == before && !this.carried.has_ended.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Near {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl AsyncRead for Far {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        this.carried.up.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Far {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.carried
            .down
            .fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.carried.has_ended.store(true, Ordering::Release);
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
