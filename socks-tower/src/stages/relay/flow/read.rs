//! Reads, and what they leave behind.
//!
//! To be told of more, a socket must have been empty. Tokio takes a short read for the
//! proof, on Linux, and it is none: one stops at the urgent mark, whatever waits behind
//! it (tcp(7)), and nobody is told of what was there all along. Only a read that finds
//! nothing proves it, and behind every message that would be a call in vain. So the
//! tunnel has another look once nothing has come for a while.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use crate::session::{Stream, tcp};

/// What a read brought; of no bytes, the source's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) len: usize,
    /// More may wait, of which Tokio will not tell.
    pub(super) is_short: bool,
}

/// Reads what `source` has into `buffer`, which is not empty; if it `looks`, whether
/// Tokio knows of anything or not.
pub(super) fn poll_read<S: Stream>(
    cx: &mut Context<'_>,
    source: &mut S,
    buffer: &mut [u8],
    looks: bool,
) -> Poll<io::Result<Read>> {
    let is_plain = cfg!(target_os = "linux") && tcp(source).is_some();
    let found = if looks { look(source, buffer)? } else { None };
    let len = match found {
        Some(len) => len,
        None => {
            let mut buffer = ReadBuf::new(&mut *buffer);
            ready!(Pin::new(source).poll_read(cx, &mut buffer))?;
            buffer.filled().len()
        }
    };
    Poll::Ready(Ok(Read {
        len,
        is_short: is_plain && 0 < len && len < buffer.len(),
    }))
}

/// None if there is nothing.
#[cfg(target_os = "linux")]
fn look<S: Stream>(source: &S, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    use std::os::fd::AsRawFd;

    use nix::{
        errno::Errno,
        sys::socket::{MsgFlags, recv},
    };

    let Some(tcp) = tcp(source) else {
        return Ok(None);
    };
    match recv(tcp.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        read => Ok(Some(read?)),
    }
}

#[cfg(not(target_os = "linux"))]
fn look<S: Stream>(_: &S, _: &mut [u8]) -> io::Result<Option<usize>> {
    Ok(None)
}
