use std::{fmt, io, net::SocketAddr, sync::Arc};

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

/// Connects one socket to one address.
pub(super) async fn dial(
    addr: SocketAddr,
    options: &Options,
    way: &Way,
) -> Result<TcpStream, ConnectError> {
    let failed = |error: io::Error| ConnectError::Dial {
        addr,
        source: error.into(),
    };
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
