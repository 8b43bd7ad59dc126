use std::{fmt, io, net::SocketAddr, sync::Arc};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::{ConnectError, SourceAddrs};
use crate::session::{Keepalive, or_without};

type Setup = dyn Fn(&TcpSocket, SocketAddr) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) nodelay: bool,
    pub(super) keepalive: Keepalive,
    pub(super) source: SourceAddrs,
    pub(super) setup: Option<Arc<Setup>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Keepalive::default(),
            source: SourceAddrs::new(),
            setup: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("nodelay", &self.nodelay)
            .field("keepalive", &self.keepalive)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Connects one socket to one address.
pub(super) async fn dial(addr: SocketAddr, options: &Options) -> Result<TcpStream, ConnectError> {
    let failed = |error: io::Error| ConnectError::Dial {
        addr,
        source: error.into(),
    };
    let socket = open(addr, options).map_err(failed)?;
    if let Some(source) = options.source.to_bind(&addr) {
        let bound = socket.bind(&source.into());
        bound.map_err(|error| ConnectError::Bind {
            source_addr: source.ip(),
            source: error,
        })?;
    }
    if let Some(setup) = &options.setup {
        let same = socket.try_clone().map_err(failed)?;
        setup(&TcpSocket::from_std_stream(same.into()), addr).map_err(failed)?;
    }
    connect(socket, addr).await.map_err(failed)
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

fn open(addr: SocketAddr, options: &Options) -> io::Result<Socket> {
    let domain = Domain::for_address(addr);
    // In one system call where it can be.
    #[cfg(target_os = "linux")]
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    #[cfg(not(target_os = "linux"))]
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(target_os = "linux"))]
    socket.set_nonblocking(true)?;
    if options.nodelay {
        or_without("TCP_NODELAY", socket.set_tcp_nodelay(true));
    }
    options.keepalive.set_on(SockRef::from(&socket));
    Ok(socket)
}

/// What Tokio's own does, but for the system call that asks whether it worked:
/// the event has said so.
#[cfg(target_os = "linux")]
async fn connect(socket: Socket, addr: SocketAddr) -> io::Result<TcpStream> {
    use rustix::io::Errno;
    use tokio::io::Interest;

    match socket.connect(&addr.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
        _ => {}
    }
    // Only now: a socket that nobody has connected counts as hung up.
    let stream = TcpStream::from_std(socket.into())?;
    let ready = stream.ready(Interest::WRITABLE | Interest::ERROR).await?;
    if ready.is_error()
        && let Some(error) = stream.take_error()?
    {
        return Err(error);
    }
    Ok(stream)
}

#[cfg(not(target_os = "linux"))]
async fn connect(socket: Socket, addr: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(socket.into())
        .connect(addr)
        .await
}
