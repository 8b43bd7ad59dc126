//! Datagrams there and back, many at a time.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use rustix::{buffer::spare_capacity, event::epoll};

use crate::{
    batch::{BATCH, Batch, roomy},
    flight::Flight,
    origin::{FLOWS, Origin},
    proxy::Proxy,
    socks::{self, Auth},
    window::{Extent, Figures, Window},
};

/// What datagrams have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// One association and one target.
    One,
    /// 1,000 associations by turns.
    Associations,
    /// 1,000 targets by turns.
    Flows,
}

const ASSOCIATIONS: usize = 1000;
const HEADER: usize = 10;
const WAIT: Duration = Duration::from_millis(20);

/// Keeps `in_flight` datagrams with a payload of `size` bytes under way. The
/// units are datagrams that came back; each crossed the proxy
/// twice.
pub(crate) fn udp(
    proxy: &Proxy,
    origin: &Origin,
    in_flight: usize,
    size: usize,
    spread: Spread,
    extent: Extent,
) -> Result<Figures> {
    let (associations, targets) = match spread {
        Spread::One => (1, 1),
        Spread::Associations => (ASSOCIATIONS, 1),
        Spread::Flows => (1, FLOWS),
    };
    let mut clients = Clients::new(proxy, associations, &origin.udp[..targets], size)?;
    let mut flight = Flight::default();
    let mut window = Window::new(proxy, extent);
    loop {
        if let Some(taken) = window.tick(flight.done)? {
            return Ok(Figures::from([
                ("datagrams/s", 2.0 * taken.units / taken.seconds),
                ("CPU µs/datagram", taken.cpu * 1e6 / (2.0 * taken.units)),
                ("lost %", flight.lost_percent()),
            ]));
        }
        while flight.under_way() < in_flight {
            clients.send(in_flight - flight.under_way(), &mut flight)?;
        }
        clients.receive(&mut flight)?;
        flight.give_up(Instant::now());
    }
}

struct Clients<'a> {
    /// An association ends with its connection.
    associations: Vec<(UdpSocket, TcpStream)>,
    targets: &'a [SocketAddrV4],
    size: usize,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    out: Batch,
    back: Batch,
}

impl<'a> Clients<'a> {
    fn new(
        proxy: &Proxy,
        associations: usize,
        targets: &'a [SocketAddrV4],
        size: usize,
    ) -> Result<Self> {
        let associations: Vec<_> = (0..associations)
            .map(|_| associate(proxy))
            .collect::<Result<_>>()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, (socket, _)) in associations.iter().enumerate() {
            let token = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, socket, token, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            associations,
            targets,
            size,
            epoll,
            events: Vec::with_capacity(BATCH),
            out: Batch::new(),
            back: Batch::new(),
        })
    }

    /// Sends so many datagrams, or as many as one call of one socket does.
    fn send(&mut self, count: usize, flight: &mut Flight) -> Result<()> {
        let count = match self.associations.len() {
            1 => count.min(BATCH),
            _ => 1,
        };
        let first = flight.next();
        self.out.lens.clear();
        for (number, buffer) in (first..).zip(&mut self.out.buffers[..count]) {
            let len = HEADER + self.size;
            write(&mut buffer[..len], number, of(self.targets, number));
            self.out.lens.push(len);
        }
        self.out.peers = vec![None; count];
        let (socket, _) = of(&self.associations, first);
        let sent = self.out.send(socket)?;
        flight.sent(sent, Instant::now());
        Ok(())
    }

    /// Takes what has come, or waits a little.
    fn receive(&mut self, flight: &mut Flight) -> Result<()> {
        if self.associations.len() == 1 {
            return self.receive_at(0, flight);
        }
        self.events.clear();
        let events = spare_capacity(&mut self.events);
        epoll::wait(&self.epoll, events, Some(&WAIT.try_into()?))?;
        let ready = self.events.iter().map(|event| event.data.u64());
        for at in ready.collect::<Vec<_>>() {
            self.receive_at(at.try_into()?, flight)?;
        }
        Ok(())
    }

    fn receive_at(&mut self, at: usize, flight: &mut Flight) -> Result<()> {
        match self.back.receive(&self.associations[at].0) {
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for (buffer, &len) in self.back.buffers.iter().zip(&self.back.lens) {
            let (_, number) = buffer[..len].split_last_chunk().context("a number")?;
            let number = usize::from_le_bytes(*number);
            ensure!(
                number % self.associations.len() == at,
                "another association's datagram came"
            );
            let mut expected = [0; 2048];
            let expected = &mut expected[..HEADER + self.size];
            write(expected, number, of(self.targets, number));
            ensure!(buffer[..len] == *expected, "something else came back");
            flight.came(number)?;
        }
        Ok(())
    }
}

/// Whose turn it is.
fn of<T>(all: &[T], number: usize) -> &T {
    &all[number % all.len()]
}

/// A datagram to `target`, or from it, with its number for a payload.
fn write(datagram: &mut [u8], number: usize, target: &SocketAddrV4) {
    let (header, payload) = datagram.split_at_mut(HEADER);
    header[..4].copy_from_slice(&[0, 0, 0, 1]);
    header[4..8].copy_from_slice(&target.ip().octets());
    header[8..].copy_from_slice(&target.port().to_be_bytes());
    for part in payload.chunks_exact_mut(8) {
        part.copy_from_slice(&number.to_le_bytes());
    }
}

fn associate(proxy: &Proxy) -> Result<(UdpSocket, TcpStream)> {
    let socket = roomy(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)?;
    socket.set_read_timeout(Some(WAIT))?;
    let own = SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr()?.port());
    let control = socks::open(proxy)?;
    let steps = socks::steps(Auth::None, socks::ASSOCIATE, own);
    let reply = socks::talk(&control, &steps)?;
    socket.connect(relay(&reply)?)?;
    Ok((socket, control))
}

/// Where a reply says that datagrams are to go.
fn relay(reply: &[u8]) -> Result<SocketAddrV4> {
    let (rest, port) = reply.split_last_chunk().context("a port")?;
    let ip = match rest {
        &[_, _, _, 1, a, b, c, d] => Ipv4Addr::new(a, b, c, d),
        // An IPv6 socket that takes IPv4 as well.
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let ip = match ip.is_unspecified() {
        true => Ipv4Addr::LOCALHOST,
        false => ip,
    };
    Ok(SocketAddrV4::new(ip, u16::from_be_bytes(*port)))
}
