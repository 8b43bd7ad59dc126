//! Reads that say whether they have emptied the socket.
//!
//! To be told of more, a socket must have been empty. A short read does not prove
//! that: one stops at the urgent mark, whatever waits behind it (tcp(7)), and
//! nobody is told of what was there all along. Only a read that finds nothing
//! does, and behind every message that would be a call in vain. So both reads go
//! into one: `recvmmsg(2)` reads a stream twice.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg},
};
use tokio::{io::Interest, net::TcpStream};

use super::{Read, plain_read};
use crate::session::{Stream, tcp};

/// Bytes of the second read, which hardly ever brings any.
const BEHIND: usize = 512;

thread_local! {
    static HEADERS: RefCell<MultiHeaders<()>> = RefCell::new(MultiHeaders::preallocate(2, None));
}

/// The system does not know the call, or forbids it.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Reads what `source` has into `buffer`, which is not empty.
///
/// `failed` is what has been heard of the source's failure so far.
pub(super) fn poll_read<S: Stream>(
    cx: &mut Context<'_>,
    source: &mut S,
    buffer: &mut [u8],
    failed: &mut Option<io::ErrorKind>,
) -> Poll<io::Result<Read>> {
    // Nobody takes a read that fills its buffer for a proof.
    if buffer.len() > 1
        && !REFUSED.load(Ordering::Relaxed)
        && let Some(tcp) = tcp(source)
    {
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            match try_read(tcp, buffer, failed) {
                Some(Err(error)) if is_refusal(&error) => break,
                Some(read) => return Poll::Ready(read),
                None => {}
            }
        }
        REFUSED.store(true, Ordering::Relaxed);
    }
    plain_read(cx, source, buffer, failed)
}

/// None if `source`, which counts as ready, was not.
fn try_read(
    source: &TcpStream,
    buffer: &mut [u8],
    failed: &mut Option<io::ErrorKind>,
) -> Option<io::Result<Read>> {
    let mut came = None;
    let tried = source.try_io(Interest::READABLE, || {
        let (read, emptied) = read_twice(source, buffer)?;
        came = (read.len > 0 || !emptied).then_some(read);
        match emptied {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    });
    if let Some(read) = came {
        return Some(end_of(read, *failed));
    }
    let error = tried.err()?;
    if error.kind() == io::ErrorKind::WouldBlock {
        return None;
    }
    // This call tells of an error first, and of it once, though what came before is
    // yet to be read.
    if is_refusal(&error) || failed.is_some() {
        return Some(Err(error));
    }
    *failed = Some(error.kind());
    None
}

/// How the source's end is to be taken, if this is it.
fn end_of(mut read: Read, failed: Option<io::ErrorKind>) -> io::Result<Read> {
    match failed {
        // What we write is what it refuses, and it ended in order before.
        None | Some(io::ErrorKind::BrokenPipe) => {}
        Some(kind) if read.len == 0 => return Err(kind.into()),
        Some(_) => read.ended = false,
    }
    Ok(read)
}

/// Says what was read, and whether that was all.
fn read_twice(source: &TcpStream, buffer: &mut [u8]) -> io::Result<(Read, bool)> {
    let at = buffer.len() - BEHIND.min(buffer.len() / 2);
    let lens = HEADERS.try_with(|headers| {
        let mut headers = headers.borrow_mut();
        let (first, second) = buffer.split_at_mut(at);
        let mut slices = [[IoSliceMut::new(first)], [IoSliceMut::new(second)]];
        let flags = MsgFlags::MSG_DONTWAIT;
        let came = recvmmsg(source.as_raw_fd(), &mut headers, &mut slices, flags, None)?;
        let mut lens = came.map(|message| message.bytes);
        Ok::<_, Errno>((lens.next().unwrap_or_default(), lens.next()))
    });
    // A thread that is ending reads no more.
    let (len, behind) = lens.map_err(io::Error::other)??;
    let behind_len = behind.unwrap_or_default();
    buffer.copy_within(at..at + behind_len, len);
    let read = Read {
        len: len + behind_len,
        ended: len == 0 || behind == Some(0),
    };
    // Without a second read, the kernel has found nothing, or an error, which it
    // announces and gives to the next.
    Ok((read, behind.is_none()))
}

/// What a system says that does not know the call, or a sandbox that forbids it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
    )
}
