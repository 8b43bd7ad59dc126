use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::ConnectError;
use crate::{
    session::{Keepalive, or_without},
    works::egress::Way,
};

type Setup = dyn Fn(&TcpSocket, SocketAddr) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) nodelay: bool,
    pub(super) keepalive: Keepalive,
    pub(super) setup: Option<Arc<Setup>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Keepalive::default(),
            setup: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("nodelay", &self.nodelay)
            .field("keepalive", &self.keepalive)
            .finish_non_exhaustive()
    }
}

/// A socket on its way to one address.
pub(crate) struct Dial {
    addr: SocketAddr,
    connecting: Connecting,
}

impl Future for Dial {
    type Output = Result<TcpStream, ConnectError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = Pin::new(&mut self.connecting).poll(cx);
        connected.map_err(|error| failed(self.addr, error))
    }
}

fn failed(addr: SocketAddr, error: io::Error) -> ConnectError {
    ConnectError::Dial {
        addr,
        source: error.into(),
    }
}

/// Sends one socket off to one address.
pub(super) fn dial(addr: SocketAddr, options: &Options, way: &Way) -> Result<Dial, ConnectError> {
    let failed = |error| failed(addr, error);
    let socket = open(addr, options, way).map_err(failed)?;
    way.set_stream(&socket, Domain::for_address(addr))
        .map_err(|source| ConnectError::Egress { addr, source })?;
    way.bind(&socket, addr)
        .map_err(|(source_addr, source)| ConnectError::Bind {
            source_addr,
            source,
        })?;
    if let Some(setup) = &options.setup {
        let same = socket.try_clone().map_err(failed)?;
        setup(&TcpSocket::from_std_stream(same.into()), addr).map_err(failed)?;
    }
    let connecting = connect(socket, addr).map_err(failed)?;
    Ok(Dial { addr, connecting })
}

/// Refuses a connection to itself, as the port would have refused one from
/// elsewhere. TCP makes one of a socket that dials its own address (RFC 9293,
/// section 3.5, a simultaneous open): so may a closed port of this machine be
/// answered, if it is the one that the system gives the socket.
///
/// Costs two system calls.
pub(crate) fn not_to_itself(stream: &TcpStream) -> Result<(), ConnectError> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local == peer => {
            // It would keep the port for a minute.
            let _ = stream.set_zero_linger();
            let source = io::Error::new(io::ErrorKind::ConnectionRefused, "connected to itself");
            Err(ConnectError::Dial {
                addr: peer,
                source: source.into(),
            })
        }
        _ => Ok(()),
    }
}

fn open(addr: SocketAddr, options: &Options, way: &Way) -> io::Result<Socket> {
    let domain = Domain::for_address(addr);
    // In one system call where it can be.
    #[cfg(target_os = "linux")]
    let socket = way.stream(domain, Type::STREAM.nonblocking())?;
    #[cfg(not(target_os = "linux"))]
    let socket = way.stream(domain, Type::STREAM)?;
    #[cfg(not(target_os = "linux"))]
    socket.set_nonblocking(true)?;
    if options.nodelay {
        or_without("TCP_NODELAY", socket.set_tcp_nodelay(true));
    }
    let keepalive = way.keepalive(options.keepalive);
    keepalive.set_on(SockRef::from(&socket));
    way.open_fast(&socket, addr.port());
    Ok(socket)
}

/// What Tokio's own does, but for the system call that asks whether it worked:
/// the event has said so.
///
/// What listens on this machine has answered by the time that `connect` returns, and
/// to ask again costs less than to wait for the event.
#[cfg(target_os = "linux")]
fn connect(socket: Socket, addr: SocketAddr) -> io::Result<Connecting> {
    let is_connected = ask(&socket, addr)? || addr.ip().is_loopback() && ask(&socket, addr)?;
    // Only now: a socket that nobody has connected counts as hung up.
    let stream = Some(TcpStream::from_std(socket.into())?);
    Ok(Connecting {
        stream,
        is_connected,
    })
}

/// Whether it is connected already.
#[cfg(target_os = "linux")]
fn ask(socket: &Socket, addr: SocketAddr) -> io::Result<bool> {
    use rustix::io::Errno;

    match rustix::net::connect(socket, &addr) {
        Ok(()) | Err(Errno::ISCONN) => Ok(true),
        Err(Errno::INPROGRESS | Errno::ALREADY) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(target_os = "linux")]
struct Connecting {
    stream: Option<TcpStream>,
    is_connected: bool,
}

#[cfg(target_os = "linux")]
impl Future for Connecting {
    type Output = io::Result<TcpStream>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        use std::task::ready;
        use tokio::io::Interest;

        let Some(stream) = &self.stream else {
            return Poll::Pending;
        };
        if !self.is_connected {
            ready!(stream.poll_write_ready(cx))?;
            // If the event says that there is an error to ask for.
            match stream.try_io(Interest::ERROR, || stream.take_error()) {
                Ok(Some(error)) => return Poll::Ready(Err(error)),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            }
        }
        self.stream
            .take()
            .map_or(Poll::Pending, |stream| Poll::Ready(Ok(stream)))
    }
}

#[cfg(not(target_os = "linux"))]
type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

#[cfg(not(target_os = "linux"))]
fn connect(socket: Socket, addr: SocketAddr) -> io::Result<Connecting> {
    let socket = TcpSocket::from_std_stream(socket.into());
    Ok(Box::pin(socket.connect(addr)))
}
