//! The servers behind the proxies: those that answer and those that carry bulk
//! on threads of their own, so that neither waits for the other.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use anyhow::{Context, Result};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt},
};

use crate::{
    batch::{Batch, roomy},
    noise::Noise,
};

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Sends back what comes, until the end.
    Echo,
    /// Sends back what comes first, and hangs up: so it is never the proxy that
    /// is left with ports in TIME_WAIT.
    Once,
    Sink,
    Source,
    /// Sink and source at once.
    Both,
}

/// Where the servers are.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) echo: SocketAddrV4,
    pub(crate) once: SocketAddrV4,
    pub(crate) sink: SocketAddrV4,
    pub(crate) source: SocketAddrV4,
    pub(crate) both: SocketAddrV4,
    /// Send back every datagram; the first has a thread of its own.
    pub(crate) udp: Vec<SocketAddrV4>,
}

/// Servers of datagrams.
pub(crate) const FLOWS: usize = 1000;

/// Bytes that have come to the sink.
pub(crate) static SUNK: AtomicU64 = AtomicU64::new(0);

/// Connections that were accepted.
static ACCEPTED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn accepted() -> u64 {
    ACCEPTED.load(Ordering::Relaxed)
}

impl Origin {
    pub(crate) fn start() -> Result<Self> {
        let (echo, once) = (listen(Kind::Echo)?, listen(Kind::Once)?);
        let (sink, source, both) = (
            listen(Kind::Sink)?,
            listen(Kind::Source)?,
            listen(Kind::Both)?,
        );
        let sockets: Vec<_> = (0..FLOWS)
            .map(|_| roomy(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?))
            .collect::<Result<_>>()?;
        let origin = Self {
            echo: v4(echo.0.local_addr()?)?,
            once: v4(once.0.local_addr()?)?,
            sink: v4(sink.0.local_addr()?)?,
            source: v4(source.0.local_addr()?)?,
            both: v4(both.0.local_addr()?)?,
            udp: sockets
                .iter()
                .map(|it| v4(it.local_addr()?))
                .collect::<Result<_>>()?,
        };
        run(move || serve(&[echo, once]));
        run(move || serve(&[sink, source, both]));
        let mut sockets = sockets.into_iter();
        let first = sockets.next().context("a socket")?;
        thread::spawn(move || echo_datagrams(&first));
        run(move || echo_flows(&sockets.collect::<Vec<_>>()));
        Ok(origin)
    }
}

fn listen(kind: Kind) -> Result<(TcpListener, Kind)> {
    Ok((TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, kind))
}

fn run(server: impl FnOnce() -> Result<Infallible> + Send + 'static) {
    thread::spawn(move || {
        let Err(error) = server();
        // Without it every figure would be wrong.
        eprintln!("a server failed: {error:#}");
        std::process::exit(1);
    });
}

fn v4(addr: SocketAddr) -> Result<SocketAddrV4> {
    match addr {
        SocketAddr::V4(addr) => Ok(addr),
        SocketAddr::V6(_) => anyhow::bail!("it was bound to IPv4"),
    }
}

struct Connection {
    io: OwnedFd,
    kind: Kind,
    /// What is still to be sent back.
    held: Vec<u8>,
    sent: usize,
    received: usize,
}

fn serve(listeners: &[(TcpListener, Kind)]) -> Result<Infallible> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let token = |fd: RawFd| epoll::EventData::new_u64(u64::from(fd.unsigned_abs()));
    for (listener, _) in listeners {
        listener.set_nonblocking(true)?;
        rustix::net::listen(listener, 4096)?;
        epoll::add(
            &epoll,
            listener,
            token(listener.as_raw_fd()),
            epoll::EventFlags::IN,
        )?;
    }
    let mut connections: HashMap<RawFd, Connection> = HashMap::new();
    let mut events = Vec::with_capacity(512);
    let noise = Noise::new();
    let mut buffer = noise.buffer();
    loop {
        events.clear();
        retry_on_intr(|| epoll::wait(&epoll, spare_capacity(&mut events), None))?;
        for event in &events {
            let fd = RawFd::try_from(event.data.u64()).context("a descriptor")?;
            let listener = listeners.iter().find(|it| it.0.as_raw_fd() == fd);
            if let Some((listener, kind)) = listener {
                while let Ok(io) =
                    accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
                {
                    ACCEPTED.fetch_add(1, Ordering::Relaxed);
                    // One that has been reset already is noticed later.
                    let _ = sockopt::set_tcp_nodelay(&io, true);
                    let interest = match kind {
                        Kind::Source => epoll::EventFlags::OUT | epoll::EventFlags::RDHUP,
                        Kind::Both => epoll::EventFlags::IN | epoll::EventFlags::OUT,
                        Kind::Echo | Kind::Once | Kind::Sink => epoll::EventFlags::IN,
                    };
                    let fd = io.as_raw_fd();
                    epoll::add(&epoll, &io, token(fd), interest)?;
                    let connection = Connection {
                        io,
                        kind: *kind,
                        held: Vec::new(),
                        sent: 0,
                        received: 0,
                    };
                    connections.insert(fd, connection);
                }
            } else if let Some(connection) = connections.get_mut(&fd) {
                let held = connection.held.is_empty();
                let goes_on = connection.serve(event.flags, &noise, &mut buffer);
                if goes_on && held != connection.held.is_empty() {
                    let interest = match held {
                        true => epoll::EventFlags::OUT,
                        false => epoll::EventFlags::IN,
                    };
                    epoll::modify(&epoll, &connection.io, token(fd), interest)?;
                }
                if !goes_on {
                    connections.remove(&fd);
                }
            }
        }
    }
}

impl Connection {
    /// False once it is over, or when something else came than was sent.
    fn serve(&mut self, flags: epoll::EventFlags, noise: &Noise, buffer: &mut [u8]) -> bool {
        if flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::RDHUP) {
            return false;
        }
        match self.kind {
            Kind::Source => self.send(noise),
            Kind::Sink => self.receive(noise, buffer),
            Kind::Both => {
                (!flags.contains(epoll::EventFlags::IN) || self.receive(noise, buffer))
                    && (!flags.contains(epoll::EventFlags::OUT) || self.send(noise))
            }
            Kind::Echo | Kind::Once => self.echo(buffer),
        }
    }

    fn send(&mut self, noise: &Noise) -> bool {
        match send(&self.io, noise.from(self.sent), SendFlags::NOSIGNAL) {
            Ok(len) => {
                self.sent += len;
                true
            }
            Err(error) => error == Errno::AGAIN,
        }
    }

    fn receive(&mut self, noise: &Noise, buffer: &mut [u8]) -> bool {
        match noise.receive(&self.io, &mut self.received, buffer) {
            Ok(0) => false,
            Ok(len) => {
                SUNK.fetch_add(len as u64, Ordering::Relaxed);
                true
            }
            Err(error) => error == Errno::AGAIN,
        }
    }

    fn echo(&mut self, buffer: &mut [u8]) -> bool {
        if self.held.is_empty() {
            match recv(&self.io, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return false,
                Ok((len, _)) => self.held.extend(&buffer[..len]),
                Err(error) => return error == Errno::AGAIN,
            }
        }
        match send(&self.io, &self.held, SendFlags::NOSIGNAL) {
            Ok(len) => {
                self.held.drain(..len);
                if self.held.is_empty() {
                    self.held = Vec::new();
                }
                !(self.held.is_empty() && self.kind == Kind::Once)
            }
            Err(error) => error == Errno::AGAIN,
        }
    }
}

/// Sends back what comes, for ever.
fn echo_datagrams(socket: &UdpSocket) {
    let mut batch = Batch::new();
    loop {
        if batch.receive(socket).is_ok() {
            let _ = batch.send(socket);
        }
    }
}

fn echo_flows(sockets: &[UdpSocket]) -> Result<Infallible> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, socket) in sockets.iter().enumerate() {
        let token = epoll::EventData::new_u64(at as u64);
        epoll::add(&epoll, socket, token, epoll::EventFlags::IN)?;
    }
    let mut batch = Batch::new();
    let mut events = Vec::with_capacity(512);
    loop {
        events.clear();
        retry_on_intr(|| epoll::wait(&epoll, spare_capacity(&mut events), None))?;
        for event in &events {
            let socket = &sockets[usize::try_from(event.data.u64())?];
            if batch.receive(socket).is_ok() {
                let _ = batch.send(socket);
            }
        }
    }
}
