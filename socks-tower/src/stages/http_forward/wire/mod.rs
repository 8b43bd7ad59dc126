//! What stands between hyper and a socket: it lets hyper read nothing that has two
//! readings.
//!
//! hyper takes more than it passes on: lines that end in LF alone, a length beside a
//! coding, a list of codings of which the last is `chunked`. So heads and chunks are
//! read here first, and strictly. What hyper is given is what was read.

mod chunks;
mod head;
mod requests;
mod responses;
mod wrong;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::ReadBuf;

use self::{
    chunks::Chunks,
    head::{Body, Lines},
};
pub(super) use self::{
    head::{Asked, Awaited},
    requests::{CONNECT, Desk, Requests},
    responses::{Expected, Responses},
    wrong::Wrong,
};
use crate::{session::Stream, stages::http_connect::head::MAX_LEN};

/// What one read asks for.
const READ_LEN: usize = 8 * 1024;

/// Whose heads are read.
pub(super) trait Heads: Unpin {
    /// Whether the next head may be read. What comes before that waits, and so does
    /// the end of the stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// What has come of a head, which may not end yet. `None` if hyper is to see the
    /// end of the stream instead.
    fn begins(&mut self, input: &[u8]) -> Result<Option<Begun>, Wrong>;

    /// The head is the first `len` bytes of what has come. `None` if it is followed by
    /// another, and not by its body.
    fn read(&mut self, input: &[u8], len: usize) -> Result<Option<Body>, Wrong>;

    /// Ready when nobody waits for a head any longer.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Wrong>>;

    /// What is sent makes no sense.
    fn refuse(&mut self, wrong: Wrong) -> io::Error;

    /// What is to be written before all else.
    fn to_write_first(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Some of what hyper wrote has been taken.
    fn written(&mut self) {}

    /// All that hyper wrote has been taken.
    fn flushed(&mut self) {}
}

/// How a head begins.
pub(super) enum Begun {
    /// With so many bytes that are not part of it.
    Skip(usize),
    Head,
}

/// A stream for hyper.
pub(super) struct Wire<Io, H> {
    io: Io,
    heads: H,
    /// What has been read from the stream, and not by hyper.
    buffer: Vec<u8>,
    /// How much of it hyper may read.
    passed: usize,
    at: At,
    /// The next head is being read, or may be.
    is_open: bool,
    has_ended: bool,
    /// Is written before what hyper writes.
    first: Vec<u8>,
    /// All that hyper has written is taken.
    is_flushed: bool,
}

enum At {
    Head(Lines),
    Length(u64),
    Chunked(Chunks),
    Rest,
}

impl<Io: Stream, H: Heads> Wire<Io, H> {
    pub(super) fn new(io: Io, buffer: Vec<u8>, heads: H) -> Self {
        Self {
            io,
            heads,
            buffer,
            passed: 0,
            at: At::Head(Lines::default()),
            is_open: false,
            has_ended: false,
            first: Vec::new(),
            is_flushed: true,
        }
    }

    /// The stream, and what has been read of it.
    pub(super) fn into_parts(self) -> (Io, Vec<u8>) {
        (self.io, self.buffer)
    }

    /// Whether messages, both ways, have come to their ends, and nothing has come behind.
    pub(super) fn is_between_messages(&self) -> bool {
        let is_at_head = matches!(self.at, At::Head(_));
        is_at_head && self.buffer.is_empty() && !self.has_ended && self.is_flushed
    }

    /// Ready once hyper may read `passed` bytes, or has come to the end.
    fn poll_pass(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.passed == 0 {
            let polled = match &mut self.at {
                At::Head(_) => match self.poll_head(cx) {
                    Poll::Ready(Err(wrong)) => return Poll::Ready(Err(self.heads.refuse(wrong))),
                    Poll::Ready(Ok(Ended::No)) => continue,
                    Poll::Ready(Ok(Ended::Yes)) => return Poll::Ready(Ok(())),
                    Poll::Pending => self.poll_more(cx),
                },
                _ if self.buffer.is_empty() => self.poll_more(cx),
                At::Length(left) => {
                    let here = self.buffer.len();
                    self.passed = usize::try_from(*left).map_or(here, |left| left.min(here));
                    *left -= self.passed as u64;
                    if *left == 0 {
                        self.at = At::Head(Lines::default());
                    }
                    continue;
                }
                At::Chunked(chunks) => {
                    match chunks.read(&self.buffer) {
                        Ok(read) => self.passed = read,
                        Err(wrong) => return Poll::Ready(Err(self.heads.refuse(wrong))),
                    }
                    if chunks.is_over() {
                        self.at = At::Head(Lines::default());
                    }
                    continue;
                }
                At::Rest => {
                    self.passed = self.buffer.len();
                    continue;
                }
            };
            if ready!(polled)? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Pending if more has to be read for that.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended, Wrong>> {
        let At::Head(lines) = &mut self.at else {
            return Poll::Ready(Ok(Ended::No));
        };
        self.is_open = self.heads.poll_open(cx).is_ready();
        if !self.is_open {
            return Poll::Pending;
        }
        if !self.buffer.is_empty() {
            match self.heads.begins(&self.buffer)? {
                None => return Poll::Ready(Ok(Ended::Yes)),
                Some(Begun::Skip(len)) => {
                    self.buffer.drain(..len);
                    return Poll::Ready(Ok(Ended::No));
                }
                Some(Begun::Head) => {}
            }
            if let Some(len) = lines.end(&self.buffer)? {
                if len > MAX_LEN {
                    return Poll::Ready(Err(Wrong::TooLong));
                }
                self.at = match self.heads.read(&self.buffer, len)? {
                    None | Some(Body::None | Body::Length(0)) => At::Head(Lines::default()),
                    Some(Body::Length(length)) => At::Length(length),
                    Some(Body::Chunked) => At::Chunked(Chunks::new()),
                    Some(Body::Rest | Body::Switched) => At::Rest,
                };
                self.passed = len;
                return Poll::Ready(Ok(Ended::No));
            }
            if self.buffer.len() >= MAX_LEN {
                return Poll::Ready(Err(Wrong::TooLong));
            }
        }
        if self.has_ended {
            return Poll::Ready(Ok(Ended::Yes));
        }
        match self.heads.poll_late(cx) {
            Poll::Ready(late) => Poll::Ready(late.map(|()| Ended::Yes)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads more; 0 at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended {
            // Before a head may be read: nobody is told yet.
            return match self.at {
                At::Head(_) => Poll::Pending,
                _ => Poll::Ready(Ok(0)),
            };
        }
        // What waits for its turn is bounded, and the rest stays in the socket.
        if matches!(self.at, At::Head(_)) && !self.is_open && self.buffer.len() >= READ_LEN {
            return Poll::Pending;
        }
        let mut space = [0; READ_LEN];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.buffer.extend_from_slice(buf.filled());
        self.has_ended = buf.filled().is_empty();
        match self.at {
            // The end is not told before its time.
            At::Head(_) => Poll::Ready(Ok(1)),
            _ => Poll::Ready(Ok(buf.filled().len())),
        }
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut more = self.heads.to_write_first();
        self.first.append(&mut more);
        while !self.first.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.first))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.first.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether hyper is to see the end of the stream.
#[derive(PartialEq, Eq)]
enum Ended {
    Yes,
    No,
}

impl<Io: Stream, H: Heads> Read for Wire<Io, H> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pass(cx))?;
        let len = this.passed.min(buf.remaining());
        buf.put_slice(this.buffer.get(..len).unwrap_or_default());
        this.buffer.drain(..len);
        this.passed -= len;
        if this.buffer.is_empty() {
            // A connection that waits holds none.
            this.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: Stream, H: Heads> Write for Wire<Io, H> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        ready!(this.poll_first(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.heads.written();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        ready!(this.poll_first(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        this.heads.written();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_first(cx))?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.heads.flushed();
        this.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
