//! The servers behind the proxies, on a thread of their own.

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

use crate::batch::Batch;

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
}

/// Where the servers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) echo: SocketAddrV4,
    pub(crate) once: SocketAddrV4,
    pub(crate) sink: SocketAddrV4,
    pub(crate) source: SocketAddrV4,
    pub(crate) udp: SocketAddrV4,
}

/// Bytes that have come to the sink.
pub(crate) static SUNK: AtomicU64 = AtomicU64::new(0);

/// Connections that were accepted.
static ACCEPTED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn accepted() -> u64 {
    ACCEPTED.load(Ordering::Relaxed)
}

/// Read and written at once.
const CHUNK: usize = 256 * 1024;

impl Origin {
    pub(crate) fn start() -> Result<Self> {
        let kinds = [Kind::Echo, Kind::Once, Kind::Sink, Kind::Source];
        let listen = |kind| anyhow::Ok((TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, kind));
        let listeners: Vec<_> = kinds.into_iter().map(listen).collect::<Result<_>>()?;
        let addrs: Vec<_> = listeners
            .iter()
            .map(|it| v4(it.0.local_addr()?))
            .collect::<Result<_>>()?;
        let [echo, once, sink, source] = addrs[..] else {
            unreachable!("as many as there are kinds")
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let udp = v4(socket.local_addr()?)?;
        thread::spawn(move || echo_datagrams(&socket));
        thread::spawn(move || {
            let Err(error) = serve(&listeners);
            // Without it every figure would be wrong.
            eprintln!("the servers failed: {error:#}");
            std::process::exit(1);
        });
        Ok(Self {
            echo,
            once,
            sink,
            source,
            udp,
        })
    }
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
    let mut buffer = vec![7; CHUNK];
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
                        Kind::Echo | Kind::Once | Kind::Sink => epoll::EventFlags::IN,
                    };
                    let fd = io.as_raw_fd();
                    epoll::add(&epoll, &io, token(fd), interest)?;
                    let (kind, held) = (*kind, Vec::new());
                    connections.insert(fd, Connection { io, kind, held });
                }
            } else if let Some(connection) = connections.get_mut(&fd) {
                let held = connection.held.is_empty();
                let goes_on = connection.serve(event.flags, &mut buffer);
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
    /// False once it is over.
    fn serve(&mut self, flags: epoll::EventFlags, buffer: &mut [u8]) -> bool {
        if flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::RDHUP) {
            return false;
        }
        match self.kind {
            Kind::Source => would_block(send(&self.io, buffer, SendFlags::NOSIGNAL)),
            Kind::Sink => match recv(&self.io, buffer, RecvFlags::TRUNC) {
                Ok((_, 0)) => false,
                Ok((_, len)) => {
                    SUNK.fetch_add(len as u64, Ordering::Relaxed);
                    true
                }
                Err(error) => error == Errno::AGAIN,
            },
            Kind::Echo | Kind::Once => self.echo(buffer),
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

fn would_block<T>(result: rustix::io::Result<T>) -> bool {
    !matches!(result, Err(error) if error != Errno::AGAIN)
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
