//! Datagrams by the batch: the buffers of a thread, and what the system does
//! with them in as few calls as it can.

#[cfg(target_os = "linux")]
mod mmsg;
#[cfg(any(test, not(target_os = "linux")))]
mod plain;
#[cfg(target_os = "linux")]
mod refused;
#[cfg(target_os = "linux")]
mod segments;

use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    task::{Context, Poll},
};

use super::{Socket, header};
use crate::session::{DropReason, WrapsDatagrams};

#[cfg(target_os = "linux")]
pub(crate) use segments::are_served as segments_are_served;

#[cfg(target_os = "linux")]
use mmsg::Mmsg as Native;
#[cfg(not(target_os = "linux"))]
use plain::Plain as Native;

/// Datagrams that are received at once.
pub(crate) const LEN: usize = 32;

/// Room before the data of a datagram, where a header can be put.
const HEADROOM: usize = 32;
const _: () = assert!(header::MAX_ANSWER <= HEADROOM);

/// No datagram is longer, so none is cut short.
const SLOT: usize = HEADROOM + u16::MAX as usize + 1;

/// How to receive and send many datagrams.
pub(crate) trait System: Default {
    /// Receives into the slots behind their headroom; ready with how many came,
    /// at least one.
    fn poll_receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
        cx: &mut Context<'_>,
    ) -> Poll<usize>;

    /// Receives at once, if anything has come: at least one.
    fn try_receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
    ) -> io::Result<usize>;

    /// Sends up to [`LEN`] datagrams in their order, and reports of each.
    fn send(socket: &Socket, datagrams: &[Datagram<'_>], report: impl FnMut(io::Result<()>));
}

/// A datagram that lies in the slot of its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    len: usize,
    from: SocketAddr,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) to: SocketAddr,
}

/// What is to be sent of a slot.
#[derive(Debug)]
struct Out {
    slot: usize,
    range: Range<usize>,
    /// Bytes of it that are not header.
    data: usize,
    to: SocketAddr,
}

/// What became of datagrams that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) datagrams: u64,
    /// Without headers.
    pub(crate) bytes: u64,
    pub(crate) too_long: u64,
    pub(crate) unsendable: u64,
    /// What throttles were asked for those that were not sent: of one without
    /// payload, a byte.
    pub(crate) unsent_bytes: u64,
}

impl Sent {
    pub(crate) fn add(&mut self, result: &io::Result<()>, bytes: usize) {
        match result {
            Ok(()) => {
                self.datagrams += 1;
                self.bytes += bytes as u64;
            }
            Err(error) => {
                self.unsent_bytes += bytes.max(1) as u64;
                match reason(error) {
                    DropReason::TooLong => self.too_long += 1,
                    _ => self.unsendable += 1,
                }
            }
        }
    }
}

fn reason(error: &io::Error) -> DropReason {
    // std has no stable `ErrorKind` for EMSGSIZE.
    const EMSGSIZE: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        90
    } else if cfg!(windows) {
        10040
    } else {
        40
    };
    match error.raw_os_error() {
        Some(EMSGSIZE) => DropReason::TooLong,
        _ => DropReason::Unsendable,
    }
}

/// Buffers for received datagrams, and the list of what to send of them.
///
/// They take 2 MiB of address space, of which the system backs what has been
/// used: 128 KiB, if datagrams are small.
pub(crate) struct Batch<S = Native> {
    system: S,
    slots: Box<[u8]>,
    received: [Received; LEN],
    out: Vec<Out>,
    header: Vec<u8>,
    /// A datagram that a method wraps.
    wrapped: Vec<u8>,
}

thread_local! {
    static SPARE: Cell<Option<Box<Batch>>> = const { Cell::new(None) };
}

/// Lends the thread's batch to `work`.
pub(crate) fn with<R>(work: impl FnOnce(&mut Batch) -> R) -> R {
    // Taken out while in use: should `work` come here again, it finds none and
    // gets one of its own.
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    let mut batch = spare.unwrap_or_default();
    let result = work(&mut batch);
    // A thread that is ending has no place for it any more.
    let _ = SPARE.try_with(|place| place.set(Some(batch)));
    result
}

impl<S: System> Default for Batch<S> {
    fn default() -> Self {
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Self {
            system: S::default(),
            slots: vec![0; LEN * SLOT].into_boxed_slice(),
            received: [Received {
                len: 0,
                from: nobody,
            }; LEN],
            out: Vec::with_capacity(LEN),
            header: Vec::with_capacity(HEADROOM),
            wrapped: Vec::new(),
        }
    }
}

impl<S: System> Batch<S> {
    /// Receives datagrams; ready with how many came, at least one.
    pub(crate) fn poll_receive(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<usize> {
        let Self {
            system,
            slots,
            received,
            ..
        } = self;
        system.poll_receive(socket, slots, received, cx)
    }

    /// Receives datagrams, without waiting: at least one.
    ///
    /// # Errors
    ///
    /// What the system says; that it would block, if there is none.
    pub(crate) fn try_receive(&mut self, socket: &Socket) -> io::Result<usize> {
        let Self {
            system,
            slots,
            received,
            ..
        } = self;
        system.try_receive(socket, slots, received)
    }

    /// Receives one datagram of a connected socket, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_receive`](Self::try_receive).
    pub(crate) fn try_receive_one(&mut self, socket: &Socket) -> io::Result<&mut [u8]> {
        let len = socket.try_recv(&mut self.slots)?;
        Ok(self.slots.get_mut(..len).unwrap_or_default())
    }

    /// How many bytes of data the datagram at `at` has, if it has no header.
    pub(crate) fn len(&self, at: usize) -> usize {
        self.received.get(at).map_or(0, |received| received.len)
    }

    /// The datagram at `at`, and where it came from.
    pub(crate) fn datagram(&self, at: usize) -> Option<(&[u8], SocketAddr)> {
        let Received { len, from } = *self.received.get(at)?;
        Some((self.slot(at).get(HEADROOM..HEADROOM + len)?, from))
    }

    /// Unwraps the datagram at `at`; false if it is not what the client has sent.
    pub(crate) fn unwrap(&mut self, at: usize, wrapper: &WrapsDatagrams) -> bool {
        let Some(received) = self.received.get_mut(at) else {
            return false;
        };
        let start = at * SLOT + HEADROOM;
        let datagram = self.slots.get_mut(start..start + received.len);
        let len = datagram.and_then(|datagram| wrapper.unwrap(datagram));
        received.len = len.unwrap_or_default();
        len.is_some()
    }

    /// Begins to list what is to be sent.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
    }

    /// Lists the last `data` bytes of the datagram at `at`, to be sent to `to`.
    pub(crate) fn forward(&mut self, at: usize, data: usize, to: SocketAddr) {
        let Some(received) = self.received.get(at) else {
            return;
        };
        let end = HEADROOM + received.len;
        self.out.push(Out {
            slot: at,
            range: end - data..end,
            data,
            to,
        });
    }

    /// Lists the datagram at `at` with a header that says that it is from
    /// `source`, to be sent to `to`.
    pub(crate) fn answer(&mut self, at: usize, source: SocketAddr, to: SocketAddr) {
        let mut header = std::mem::take(&mut self.header);
        header::answer(source, &mut header);
        self.readdress(at, self.len(at), &header, to);
        self.header = header;
    }

    /// Lists the last `data` bytes of the datagram at `at` behind `header`, to be sent
    /// to `to`. False, if there is no room for that.
    pub(crate) fn readdress(
        &mut self,
        at: usize,
        data: usize,
        header: &[u8],
        to: SocketAddr,
    ) -> bool {
        let end = HEADROOM + self.len(at);
        let Some(start) = end.checked_sub(data + header.len()) else {
            return false;
        };
        let room = at * SLOT + start..at * SLOT + start + header.len();
        let Some(room) = self.slots.get_mut(room) else {
            return false;
        };
        room.copy_from_slice(header);
        self.out.push(Out {
            slot: at,
            range: start..end,
            data,
            to,
        });
        true
    }

    /// Lists the datagram at `at` as it came, of which `data` bytes are not header, to
    /// be sent to `to`.
    pub(crate) fn pass(&mut self, at: usize, data: usize, to: SocketAddr) {
        self.out.push(Out {
            slot: at,
            range: HEADROOM..HEADROOM + self.len(at),
            data,
            to,
        });
    }

    /// Wraps what was listed last; false if that cannot be, and it is not sent.
    pub(crate) fn wrap_last(&mut self, wrapper: &WrapsDatagrams) -> bool {
        let Some(mut out) = self.out.pop() else {
            return false;
        };
        self.wrapped.clear();
        let slot = out.slot * SLOT;
        let slot = self.slots.get_mut(slot..slot + SLOT).unwrap_or_default();
        let answer = slot.get(out.range.clone()).unwrap_or_default();
        if !wrapper.0.wrap(answer, &mut self.wrapped) {
            return false;
        }
        let Some(room) = slot.get_mut(..self.wrapped.len()) else {
            return false;
        };
        room.copy_from_slice(&self.wrapped);
        out.range = 0..self.wrapped.len();
        self.out.push(out);
        true
    }

    /// Sends what is listed for addresses of `socket`'s family.
    pub(crate) fn send(&self, socket: &Socket) -> Sent {
        let mut sent = Sent::default();
        let listed = || self.out.iter().filter(|out| socket.serves(out.to));
        let mut datagrams = [Datagram::EMPTY; LEN];
        let mut len = 0;
        for (place, out) in datagrams.iter_mut().zip(listed()) {
            place.bytes = self
                .slot(out.slot)
                .get(out.range.clone())
                .unwrap_or_default();
            place.to = out.to;
            len += 1;
        }
        let mut listed = listed();
        S::send(socket, datagrams.get(..len).unwrap_or_default(), |result| {
            let data = listed.next().map_or(0, |out| out.data);
            sent.add(&result, data);
        });
        sent
    }

    fn slot(&self, at: usize) -> &[u8] {
        let slot = self.slots.get(at * SLOT..(at + 1) * SLOT);
        slot.unwrap_or_default()
    }
}

impl Datagram<'_> {
    const EMPTY: Self = Self {
        bytes: &[],
        to: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    };
}

/// Sends up to [`LEN`] datagrams that are in nobody's slot, and reports of each.
pub(crate) fn send_all(
    socket: &Socket,
    datagrams: &[Datagram<'_>],
    report: impl FnMut(io::Result<()>),
) {
    Native::send(socket, datagrams, report);
}

/// Sends one datagram that is in nobody's slot.
pub(crate) fn send_one(socket: &Socket, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
    // Not by the runtime: before it has looked at a new socket, it would say
    // that there is no room.
    let system = socket2::SockRef::from(&socket.io);
    let send = || match socket.is_connected {
        true => system.send(bytes),
        false => system.send_to(bytes, &to.into()),
    };
    match send() {
        // Of one that was sent before; this one was not even tried.
        Err(error) if is_news_of_another(&error) => send(),
        sent => sent,
    }
    .map(drop)
}

/// A peer was not there for a datagram that was sent before.
fn is_news_of_another(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

/// An error of receiving that says something of one datagram that was sent:
/// there may be others to receive.
#[cfg(target_os = "linux")]
fn is_about_one_datagram(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::Interrupted
    ) || is_news_of_another(error)
        || reason(error) == DropReason::TooLong
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    #[cfg(target_os = "linux")]
    use std::sync::atomic::Ordering;

    use socket2::{Domain, Type};
    use tokio::io::Interest;

    use super::{plain::Plain, *};

    fn open(addr: SocketAddr) -> Socket {
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, None);
        Socket::bind(socket.unwrap(), addr, Interest::READABLE).unwrap()
    }

    fn socket(ip: &str) -> (Socket, SocketAddr) {
        let socket = open(SocketAddr::new(ip.parse().unwrap(), 0));
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    async fn recv(socket: &Socket, bytes: &mut [u8]) -> usize {
        let received = socket.async_io(Interest::READABLE, || socket.try_recv(bytes));
        received.await.unwrap()
    }

    async fn receive<S: System>(batch: &mut Batch<S>, socket: &Socket) -> usize {
        poll_fn(|cx| batch.poll_receive(socket, cx)).await
    }

    /// All that is sent arrives, in order, and says where it is from.
    async fn carries<S: System>(ip: &str) {
        let mut batch = Batch::<S>::default();
        let ((near, near_addr), (far, far_addr)) = (socket(ip), socket(ip));
        let (other, _) = socket(if near_addr.is_ipv4() {
            "::1"
        } else {
            "127.0.0.1"
        });
        // More than fit into a batch; some of them empty.
        let count = u8::try_from(LEN).unwrap() + 5;
        for number in 0..count {
            let bytes = vec![number; usize::from(number % 4)];
            send_one(&far, &bytes, near_addr).unwrap();
        }
        let mut number = 0;
        while number < count {
            let came = receive(&mut batch, &near).await;
            batch.clear();
            for at in 0..came {
                let (bytes, from) = batch.datagram(at).unwrap();
                assert_eq!(bytes, vec![number; usize::from(number % 4)]);
                assert_eq!(from, far_addr);
                number += 1;
                batch.forward(at, usize::from((number - 1) % 4).min(2), far_addr);
            }
            let sent = batch.send(&near);
            assert_eq!(sent.datagrams, came as u64);
            assert_eq!(batch.send(&other), Sent::default());
        }
        let mut bytes = [0; 8];
        for number in 0..count {
            let len = recv(&far, &mut bytes).await;
            assert_eq!(bytes[..len], vec![number; usize::from(number % 4).min(2)]);
        }
    }

    /// Answers have a header; one that is too long is counted, and takes no
    /// other along.
    async fn answers<S: System>(ip: &str, most: usize) {
        let mut batch = Batch::<S>::default();
        let ((near, near_addr), (far, far_addr)) = (socket(ip), socket(ip));
        let source: SocketAddr = "192.0.2.7:53".parse().unwrap();
        for len in [most - 10, most] {
            send_one(&far, &vec![7; len], near_addr).unwrap();
            assert_eq!(receive(&mut batch, &near).await, 1);
            batch.clear();
            batch.answer(0, source, far_addr);
            let sent = batch.send(&near);
            let too_long = u64::from(len == most);
            assert_eq!((sent.datagrams, sent.too_long), (1 - too_long, too_long));
        }
        let mut bytes = vec![0; most];
        assert_eq!(recv(&far, &mut bytes).await, most);
        assert!(bytes.starts_with(b"\0\0\0\x01\xc0\0\x02\x07\0\x35\x07"));

        // Of three, the second cannot be sent.
        batch.clear();
        for to in [far_addr, SocketAddr::new(far_addr.ip(), 0), far_addr] {
            batch.forward(0, 2, to);
        }
        let sent = batch.send(&near);
        assert_eq!((sent.datagrams, sent.bytes, sent.unsendable), (2, 4, 1));
    }

    #[tokio::test]
    async fn datagrams_come_and_go_by_the_batch() {
        for ip in ["127.0.0.1", "::1"] {
            carries::<Native>(ip).await;
            carries::<Plain>(ip).await;
        }
    }

    #[tokio::test]
    async fn answers_are_sent_with_their_headers() {
        for (ip, most) in [("127.0.0.1", 65_507), ("::1", 65_527)] {
            answers::<Native>(ip, most).await;
            answers::<Plain>(ip, most).await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_was_not_there_costs_no_other_datagram() {
        for ip in ["127.0.0.1", "::1"] {
            lost::<Native>(ip).await;
            lost::<Plain>(ip).await;
        }
    }

    /// The system tells a connected socket that nobody listened.
    async fn lost<S: System>(ip: &str) {
        let mut batch = Batch::<S>::default();
        let ((mut near, near_addr), (far, far_addr)) = (socket(ip), socket(ip));
        near.connect(far_addr).unwrap();
        for number in 0..3 {
            send_one(&far, &[number], near_addr).unwrap();
        }
        assert_eq!(receive(&mut batch, &near).await, 3);
        drop(far);
        send_one(&near, b"nobody", far_addr).unwrap();
        let far = open(far_addr);
        batch.clear();
        for at in 0..3 {
            batch.forward(at, 1, far_addr);
        }
        assert_eq!(batch.send(&near).datagrams, 3);
        let mut bytes = [0; 8];
        for number in 0..3 {
            assert_eq!(recv(&far, &mut bytes).await, 1);
            assert_eq!(bytes[0], number);
        }

        drop(far);
        send_one(&near, b"nobody", far_addr).unwrap();
        let far = open(far_addr);
        send_one(&far, b"still here", near_addr).unwrap();
        assert_eq!(receive(&mut batch, &near).await, 1);
    }

    #[cfg(target_os = "linux")]
    /// Datagrams that are alike arrive as they were, connected or not, and if
    /// the system would not take them at once.
    async fn alike<S: System>(ip: &str) {
        let mut batch = Batch::<S>::default();
        let ((mut near, near_addr), (far, far_addr)) = (socket(ip), socket(ip));
        let lens = [9, 9, 9, 4, 4, 4, 4, 0, 7, 7, 1400, 1400, 1400, 1400, 3];
        for (number, len) in (0..).zip(lens) {
            send_one(&far, &vec![number; len], near_addr).unwrap();
        }
        assert_eq!(receive(&mut batch, &near).await, lens.len());
        for round in 0..3 {
            match round {
                1 => near.connect(far_addr).unwrap(),
                2 => near.segments.store(false, Ordering::Relaxed),
                _ => {}
            }
            batch.clear();
            for (at, len) in lens.iter().enumerate() {
                batch.forward(at, *len, far_addr);
            }
            let sent = batch.send(&near);
            assert_eq!(sent.datagrams, lens.len() as u64);
            assert_eq!(sent.bytes, lens.iter().sum::<usize>() as u64);
            let mut bytes = [0; 1500];
            for (number, len) in (0..).zip(lens) {
                assert_eq!(recv(&far, &mut bytes).await, len);
                assert!(bytes[..len].iter().all(|&byte| byte == number));
            }
            assert_eq!(near.segments.load(Ordering::Relaxed), round < 2);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn datagrams_that_are_alike_stay_apart() {
        for ip in ["127.0.0.1", "::1"] {
            alike::<Native>(ip).await;
            alike::<Plain>(ip).await;
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_cannot_be_sent_at_once_is_tried_one_by_one() {
        let mut batch = Batch::<Native>::default();
        let ((near, near_addr), (far, far_addr)) = (socket("127.0.0.1"), socket("127.0.0.1"));
        for _ in 0..3 {
            send_one(&far, b"alike", near_addr).unwrap();
        }
        assert_eq!(receive(&mut batch, &near).await, 3);
        // The system sends nothing there; a run for another follows.
        let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
        batch.clear();
        for to in [nowhere, far_addr] {
            (0..3).for_each(|at| batch.forward(at, 5, to));
        }
        let sent = batch.send(&near);
        assert_eq!((sent.datagrams, sent.unsendable), (3, 3));
        assert!(near.segments.load(Ordering::Relaxed));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_does_not_mean_that_batches_are_refused() {
        let mut batch = Batch::<Native>::default();
        let ((near, near_addr), (far, far_addr)) = (socket("127.0.0.1"), socket("127.0.0.1"));
        send_one(&far, b"alike", near_addr).unwrap();
        assert_eq!(receive(&mut batch, &near).await, 1);
        batch.clear();
        // The system says EINVAL to port 0, as a sandbox would to the call.
        for to in [far_addr, SocketAddr::new(far_addr.ip(), 0), far_addr] {
            batch.forward(0, 5, to);
        }
        assert_eq!(batch.send(&near).unsendable, 1);
        assert!(mmsg::is_served());
    }

    #[test]
    fn a_thread_keeps_one_batch() {
        let first = with(|batch| batch.slots.as_ptr());
        assert_eq!(first, with(|batch| batch.slots.as_ptr()));
    }
}
