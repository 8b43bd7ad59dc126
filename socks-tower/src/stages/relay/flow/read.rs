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
        match ready!(poll_read_twice(cx, tcp, buffer, failed)) {
            Err(error) if is_refusal(&error) => REFUSED.store(true, Ordering::Relaxed),
            read => return Poll::Ready(read),
        }
    }
    plain_read(cx, source, buffer, failed)
}

fn poll_read_twice(
    cx: &mut Context<'_>,
    source: &TcpStream,
    buffer: &mut [u8],
    failed: &mut Option<io::ErrorKind>,
) -> Poll<io::Result<Read>> {
    loop {
        ready!(source.poll_read_ready(cx))?;
        let mut read = Read::default();
        let emptied = source.try_io(Interest::READABLE, || {
            let emptied;
            (read, emptied) = read_twice(source, buffer)?;
            match emptied {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => Ok(()),
            }
        });
        match emptied {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // This call tells of an error first, and of it once, though what
                // came before is yet to be read.
                if is_refusal(&error) || failed.is_some() {
                    return Poll::Ready(Err(error));
                }
                *failed = Some(error.kind());
            }
            Err(_) if read.len == 0 => {}
            _ => return Poll::Ready(end_of(read, *failed)),
        }
    }
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
