//! Many datagrams by one system call: `recvmmsg(2)` and `sendmmsg(2)`, and one
//! message for datagrams that are alike.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
};

use nix::{
    errno::Errno,
    sys::socket::{
        MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvfrom, recvmmsg,
    },
};
use rustix::net::{
    MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, addr::SocketAddrArg, sendmmsg,
};

use super::{
    Datagram, HEADROOM, LEN, Received, SLOT, System, is_about_one_datagram, is_news_of_another,
    refused::{Refusable, may_be_refusal},
    segments, send_one,
};
use crate::session::{give_way, udp::Socket};

static RECVMMSG: Refusable = Refusable::new("recvmmsg");
static SENDMMSG: Refusable = Refusable::new("sendmmsg");

/// Whether neither has been refused so far.
#[cfg(test)]
pub(super) fn is_served() -> bool {
    RECVMMSG.is_served() && SENDMMSG.is_served()
}

/// What `recvmmsg` wants, prepared once.
///
/// One for each family: the kernel leaves the length of an address in it, and
/// would cut a longer one to that.
pub(crate) struct Mmsg {
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
}

impl Default for Mmsg {
    fn default() -> Self {
        Self {
            v4: MultiHeaders::preallocate(LEN, None),
            v6: MultiHeaders::preallocate(LEN, None),
        }
    }
}

impl System for Mmsg {
    fn poll_receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
        cx: &mut Context<'_>,
    ) -> Poll<usize> {
        let mut failed = false;
        for _ in 0..LEN {
            if ready!(socket.poll_readable(cx)).is_err() {
                // The runtime is shutting down.
                return Poll::Pending;
            }
            let mut count = 0;
            let all: io::Result<()> = socket.try_read(|| {
                let emptied;
                match self.receive(socket, slots, received) {
                    Ok(came) => Came { count, emptied } = came,
                    Err(error) if is_about_one_datagram(&error) => return Ok(()),
                    // It does not say that nothing waits, so have another look.
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock && !failed => {
                        failed = true;
                        return Ok(());
                    }
                    // It goes on: wait for the next one to come.
                    Err(_) => return Err(io::ErrorKind::WouldBlock.into()),
                }
                match emptied {
                    true => Err(io::ErrorKind::WouldBlock.into()),
                    false => Ok(()),
                }
            });
            drop(all);
            if count > 0 {
                return Poll::Ready(count);
            }
        }
        give_way(cx);
        Poll::Pending
    }

    fn try_receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
    ) -> io::Result<usize> {
        match self.receive(socket, slots, received)?.count {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn send(socket: &Socket, datagrams: &[Datagram<'_>], mut report: impl FnMut(io::Result<()>)) {
        let mut rest = datagrams;
        while !rest.is_empty() {
            let (run, begins) = match socket.segments.load(Ordering::Relaxed) {
                true => segments::next_run(rest),
                false => (0, rest.len()),
            };
            let (alone, others) = rest.split_at(begins);
            send_alone(socket, alone, &mut report);
            let (run, others) = others.split_at(run);
            if let Err(errno) = segments::send(socket, run, &mut report) {
                if segments::is_about_cutting(errno) {
                    socket.segments.store(false, Ordering::Relaxed);
                }
                send_alone(socket, run, &mut report);
            }
            rest = others;
        }
    }
}

impl Mmsg {
    fn receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
    ) -> io::Result<Came> {
        if socket.is_ipv4 {
            receive_by(&mut self.v4, socket, slots, received)
        } else {
            receive_by(&mut self.v6, socket, slots, received)
        }
    }
}

/// How many datagrams came.
struct Came {
    count: usize,
    /// There was no more, as far as can be told.
    emptied: bool,
}

fn receive_by<A>(
    headers: &mut MultiHeaders<A>,
    socket: &Socket,
    slots: &mut [u8],
    received: &mut [Received; LEN],
) -> io::Result<Came>
where
    A: SockaddrLike + Copy + Into<SocketAddr>,
{
    if RECVMMSG.is_served() {
        match receive_at_once(headers, socket, slots, received) {
            // Nothing that was sent or has come makes the system say so.
            Err(errno) if may_be_refusal(errno) => RECVMMSG.give_up(errno),
            // Behind one alone the kernel has looked for the next and found none,
            // or news of another, which it announces. To say so saves a call that
            // would find nothing. Behind several there will be more by the time
            // that they are dealt with: to look is cheaper than to be told.
            came => {
                let count = came?;
                let emptied = count <= 1;
                return Ok(Came { count, emptied });
            }
        }
    }
    receive_each::<A>(socket, slots, received)
}

fn receive_at_once<A>(
    headers: &mut MultiHeaders<A>,
    socket: &Socket,
    slots: &mut [u8],
    received: &mut [Received; LEN],
) -> Result<usize, Errno>
where
    A: SockaddrLike + Copy + Into<SocketAddr>,
{
    let mut slots = slots.chunks_exact_mut(SLOT);
    let mut buffers: [_; LEN] = array::from_fn(|_| {
        let slot = slots.next().and_then(|slot| slot.get_mut(HEADROOM..));
        [IoSliceMut::new(slot.unwrap_or_default())]
    });
    let flags = MsgFlags::MSG_DONTWAIT;
    let came = recvmmsg(socket.io.as_raw_fd(), headers, &mut buffers, flags, None)?;
    let mut count = 0;
    for (place, message) in received.iter_mut().zip(came) {
        let Some(from) = message.address else {
            break;
        };
        *place = Received {
            len: message.bytes,
            from: from.into(),
        };
        count += 1;
    }
    Ok(count)
}

/// Receives by a call for each, until there is none.
fn receive_each<A>(
    socket: &Socket,
    slots: &mut [u8],
    received: &mut [Received; LEN],
) -> io::Result<Came>
where
    A: SockaddrLike + Into<SocketAddr>,
{
    let mut came = Came {
        count: 0,
        emptied: false,
    };
    let slots = slots.chunks_exact_mut(SLOT);
    for (place, slot) in received.iter_mut().zip(slots) {
        let slot = slot.get_mut(HEADROOM..).unwrap_or_default();
        match recvfrom::<A>(socket.io.as_raw_fd(), slot) {
            Ok((len, Some(from))) => {
                let from = from.into();
                *place = Received { len, from };
                came.count += 1;
            }
            Ok((_, None)) | Err(Errno::EAGAIN) => {
                came.emptied = true;
                break;
            }
            Err(errno) if came.count == 0 => return Err(errno.into()),
            // Those that came go first.
            Err(_) => break,
        }
    }
    Ok(came)
}

/// Sends each as a message of its own.
fn send_alone(socket: &Socket, datagrams: &[Datagram<'_>], mut report: impl FnMut(io::Result<()>)) {
    // What is prepared for a call is on the stack: as much as it takes.
    match datagrams {
        [] => {}
        [one] => report(send_one(socket, one.bytes, one.to)),
        each if !SENDMMSG.is_served() => send_each(socket, each, report),
        few if few.len() <= 8 => send_many::<8>(socket, few, report),
        many => send_many::<LEN>(socket, many, report),
    }
}

fn send_each(socket: &Socket, datagrams: &[Datagram<'_>], mut report: impl FnMut(io::Result<()>)) {
    for datagram in datagrams {
        report(send_one(socket, datagram.bytes, datagram.to));
    }
}

/// Sends up to `N` datagrams.
fn send_many<const N: usize>(
    socket: &Socket,
    datagrams: &[Datagram<'_>],
    mut report: impl FnMut(io::Result<()>),
) {
    let mut messages: [Message<'_>; N] = array::from_fn(|at| {
        let datagram = datagrams.get(at).unwrap_or(&Datagram::EMPTY);
        Message {
            to: datagram.to.as_any(),
            bytes: [IoSlice::new(datagram.bytes)],
            control: SendAncillaryBuffer::default(),
        }
    });
    let mut headers = messages
        .each_mut()
        .map(|message| match socket.is_connected {
            true => MMsgHdr::new(&message.bytes, &mut message.control),
            false => MMsgHdr::new_with_addr(&message.to, &message.bytes, &mut message.control),
        });
    let mut retried = false;
    let mut rest = headers.get_mut(..datagrams.len()).unwrap_or_default();
    while !rest.is_empty() {
        let tried = match sendmmsg(&socket.io, rest, SendFlags::DONTWAIT) {
            Ok(sent) => {
                (0..sent).for_each(|_| report(Ok(())));
                sent
            }
            // Of the first one, or of the call: an empty one tells.
            Err(errno) if may_be_refusal(Errno::from_raw(errno.raw_os_error())) => {
                let left = datagrams.get(datagrams.len() - rest.len()..);
                let mut alone = left.unwrap_or_default();
                match sendmmsg(&socket.io, &mut [], SendFlags::DONTWAIT) {
                    Ok(_) => alone = alone.get(..1).unwrap_or_default(),
                    Err(_) => SENDMMSG.give_up(Errno::from_raw(errno.raw_os_error())),
                }
                send_each(socket, alone, &mut report);
                alone.len()
            }
            // Of the first one. Without room there is none for the others either.
            Err(errno) => {
                let error = io::Error::from(errno);
                if is_news_of_another(&error) && !std::mem::replace(&mut retried, true) {
                    continue;
                }
                let failed = match error.kind() {
                    io::ErrorKind::WouldBlock => rest.len(),
                    _ => 1,
                };
                (0..failed).for_each(|_| report(Err(errno.into())));
                failed
            }
        };
        rest = rest.get_mut(tried.max(1)..).unwrap_or_default();
    }
}

struct Message<'a> {
    to: SocketAddrAny,
    bytes: [IoSlice<'a>; 1],
    control: SendAncillaryBuffer<'a, 'a, 'a>,
}
