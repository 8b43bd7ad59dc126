//! Datagrams of one length for one address, given to the system as one piece to
//! be cut up as late as possible (`UDP_SEGMENT`): they pass through most of it
//! as one.

use std::{
    array,
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd},
    sync::OnceLock,
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, MsgFlags, SockaddrStorage, getsockopt, sendmsg, sockopt::UdpGsoSegment,
    },
};

use super::{
    Datagram, LEN, is_news_of_another,
    refused::{Refusable, may_be_refusal},
};
use crate::session::udp::Socket;

/// Fewer are not worth it.
pub(super) const MIN: usize = 3;

/// The system cuts into no more than so many.
const MAX: usize = 64;
const _: () = assert!(LEN <= MAX);

/// Longer ones would not fit into the packets of most networks, and the system
/// does not cut what has to be cut again.
const MAX_LEN: usize = 1452;

/// Runs are all that `sendmsg` is needed for.
static SENDMSG: Refusable = Refusable::new("sendmsg");

/// Whether the system cuts up what it is given, which it is asked once, by way
/// of some socket of UDP.
///
/// One that does not know how may well say nothing when it is told to, and send
/// the whole as one datagram: Linux before 4.18, and who plays Linux.
pub(crate) fn are_served(socket: &impl AsFd) -> bool {
    static SERVED: OnceLock<bool> = OnceLock::new();
    let served = SERVED.get_or_init(|| match getsockopt(socket, UdpGsoSegment) {
        Ok(_) => true,
        Err(errno) => {
            Refusable::new("UDP_SEGMENT").give_up(errno);
            false
        }
    });
    *served && SENDMSG.is_served()
}

/// The first run of datagrams that can be sent as one: how many they are, and
/// where they begin. Without one that is worth it, 0 at the end.
///
/// They are of the same length, but for the last, which may be shorter.
pub(super) fn next_run(datagrams: &[Datagram<'_>]) -> (usize, usize) {
    let mut begins = 0;
    while let Some(rest) = datagrams.get(begins..).filter(|rest| !rest.is_empty()) {
        let run = run(rest);
        if run >= MIN {
            return (run, begins);
        }
        begins += 1;
    }
    (0, datagrams.len())
}

/// How many at the front of `datagrams` could be sent as one.
fn run(datagrams: &[Datagram<'_>]) -> usize {
    let Some(first) = datagrams.first() else {
        return 0;
    };
    let len = first.bytes.len();
    if !(1..=MAX_LEN).contains(&len) {
        return 1;
    }
    let equal = |datagram: &&Datagram<'_>| datagram.to == first.to && datagram.bytes.len() == len;
    let count = datagrams.iter().take_while(equal).count();
    let shorter = |datagram: &&Datagram<'_>| {
        datagram.to == first.to && (1..len).contains(&datagram.bytes.len())
    };
    count + usize::from(datagrams.get(count).filter(shorter).is_some())
}

/// Sends a run, all or nothing.
///
/// # Errors
///
/// The system's, of which nothing was reported: each may be sent by itself.
pub(super) fn send(
    socket: &Socket,
    run: &[Datagram<'_>],
    mut report: impl FnMut(io::Result<()>),
) -> Result<(), Errno> {
    let Some(first) = run.first() else {
        return Ok(());
    };
    let bytes: [_; LEN] = array::from_fn(|at| {
        let datagram = run.get(at).unwrap_or(&Datagram::EMPTY);
        IoSlice::new(datagram.bytes)
    });
    let bytes = bytes.get(..run.len()).unwrap_or_default();
    let len = u16::try_from(first.bytes.len()).unwrap_or(u16::MAX);
    let cut = [ControlMessage::UdpGsoSegments(&len)];
    let to = (!socket.is_connected).then(|| SockaddrStorage::from(first.to));
    let fd = socket.io.as_raw_fd();
    let send = || sendmsg(fd, bytes, &cut, MsgFlags::MSG_DONTWAIT, to.as_ref());
    let sent = match send() {
        Err(errno) if is_news_of_another(&errno.into()) => send(),
        sent => sent,
    };
    sent?;
    run.iter().for_each(|_| report(Ok(())));
    Ok(())
}

/// Whether to try no more: the call is refused, the kernel does not know how,
/// the device cannot, or packets are shorter here.
pub(super) fn is_about_cutting(errno: Errno) -> bool {
    is_refused(errno)
        || matches!(
            errno,
            Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP
        )
}

/// Whether it was the call that was refused, and not what was to be sent.
fn is_refused(errno: Errno) -> bool {
    if !may_be_refusal(errno) {
        return false;
    }
    // To nowhere: whoever looks at that serves the call.
    let nowhere = sendmsg::<()>(-1, &[], &[], MsgFlags::empty(), None);
    let refused = nowhere != Err(Errno::EBADF);
    if refused {
        SENDMSG.give_up(errno);
    }
    refused
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Datagrams of these lengths, each for the address of this number.
    fn runs(datagrams: &[(u16, usize)]) -> Vec<(usize, usize)> {
        let zeros = [0; 2000];
        let datagram = |&(port, len): &(u16, usize)| Datagram {
            bytes: &zeros[..len],
            to: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let datagrams: Vec<_> = datagrams.iter().map(datagram).collect();
        let mut rest = &datagrams[..];
        let mut runs = Vec::new();
        while !rest.is_empty() {
            let (run, begins) = next_run(rest);
            runs.push((begins, run));
            rest = &rest[begins + run..];
        }
        runs
    }

    #[test]
    fn a_run_is_of_one_length_for_one_address() {
        assert_eq!(runs(&[(1, 5); 4]), [(0, 4)]);
        assert_eq!(runs(&[(1, 5); 2]), [(2, 0)]);
        assert_eq!(runs(&[(1, 5), (2, 5), (1, 5), (2, 5)]), [(4, 0)]);
        assert_eq!(
            runs(&[(1, 5), (2, 5), (2, 5), (2, 5), (1, 5)]),
            [(1, 3), (1, 0)]
        );
    }

    #[test]
    fn the_last_may_be_shorter_but_not_empty() {
        assert_eq!(runs(&[(1, 5), (1, 5), (1, 3), (1, 5)]), [(0, 3), (1, 0)]);
        assert_eq!(runs(&[(1, 5), (1, 5), (1, 5), (1, 0)]), [(0, 3), (1, 0)]);
        assert_eq!(runs(&[(1, 5), (1, 3), (1, 3), (1, 3)]), [(1, 3)]);
        assert_eq!(runs(&[(1, 0); 4]), [(4, 0)]);
    }

    #[test]
    fn what_may_not_fit_into_a_packet_is_not_cut() {
        assert_eq!(runs(&[(1, MAX_LEN); 3]), [(0, 3)]);
        assert_eq!(runs(&[(1, MAX_LEN + 1); 3]), [(3, 0)]);
    }
}
