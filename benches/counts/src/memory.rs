use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A peer that sends its segments one by one, and takes whatever it is sent.
///
/// It allocates nothing, so that every allocation that is counted is ours.
#[derive(Debug)]
pub struct Memory {
    segments: &'static [&'static [u8]],
    /// Bytes that it was sent.
    pub taken: usize,
}

impl Memory {
    /// A peer that sends `segments`, and then nothing.
    pub const fn new(segments: &'static [&'static [u8]]) -> Self {
        Self { segments, taken: 0 }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some((first, rest)) = self.segments.split_first() else {
            return Poll::Pending;
        };
        // Whoever reads a message at a time has room for one.
        buf.put_slice(first);
        self.segments = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.taken += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
