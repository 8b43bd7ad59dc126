//! Streams that play a part.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Always has bytes to give; takes so many, then no more.
#[derive(Default)]
pub(super) struct Endless {
    pub(super) given: Arc<AtomicU64>,
    pub(super) takes: u64,
    pub(super) taken: Arc<AtomicU64>,
}

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = buf.initialize_unfilled().len();
        buf.advance(len);
        self.given.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = self.takes - self.taken.load(Ordering::Relaxed);
        let len = buf.len().min(usize::try_from(room).unwrap());
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        match len {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(len)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Notes what happens to it, and fails once it has been read.
pub(super) struct Noted {
    pub(super) note: Arc<Mutex<Vec<&'static str>>>,
    pub(super) reads: Vec<&'static [u8]>,
    pub(super) error: Option<io::ErrorKind>,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (self.reads.pop(), self.error) {
            (Some(bytes), _) => buf.put_slice(bytes),
            (None, Some(error)) => return Poll::Ready(Err(error.into())),
            (None, None) => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note.lock().unwrap().push("written");
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note.lock().unwrap().push("flushed");
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note.lock().unwrap().push("shut down");
        Poll::Ready(Ok(()))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.note.lock().unwrap().push("dropped");
    }
}
