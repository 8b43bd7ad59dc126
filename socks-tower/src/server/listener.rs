use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    task::Poll,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::{Accepted, Session, Stream};

/// Where connections come from: TCP, a Unix socket, memory.
///
/// [`Server`](super::Server) takes any.
pub trait Listener: Send + 'static {
    /// The stream of a connection.
    type Io: Stream;

    /// Waits for the next connection.
    ///
    /// It must be safe to drop the future and to call again: no connection may
    /// be lost by that.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`. The server goes on after those that pass and
    /// backs off when descriptors or memory have run out.
    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted<Self::Io>>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        Ok(accepted_tcp(Self::accept(self).await?))
    }
}

fn accepted_tcp((io, client_addr): (TcpStream, SocketAddr)) -> Accepted<TcpStream> {
    // Linux hands the listener's options down; elsewhere they are set here.
    #[cfg(not(target_os = "linux"))]
    let _ = io.set_nodelay(true);
    let mut session = Session::new().with_client_addr(client_addr);
    if let Ok(local_addr) = io.local_addr() {
        session = session.with_local_addr(local_addr);
    }
    Accepted::new(io, session)
}

/// Several addresses, one stack: whichever has a connection. They take turns,
/// so that a busy one does not starve the others.
impl Listener for Vec<TcpListener> {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        let (accepted, at) = poll_fn(|cx| {
            let polled =
                self.iter()
                    .enumerate()
                    .find_map(|(at, listener)| match listener.poll_accept(cx) {
                        Poll::Ready(accepted) => Some((accepted, at)),
                        Poll::Pending => None,
                    });
            polled.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.rotate_left(at + 1);
        accepted.map(accepted_tcp)
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;

    async fn accept(&mut self) -> io::Result<Accepted<Self::Io>> {
        let (io, _) = Self::accept(self).await?;
        Ok(Accepted::new(io, Session::new()))
    }
}

/// How many connections may wait to be accepted. The system cuts it to its own
/// maximum.
const BACKLOG: i32 = 1024;

/// How long a client may be silent before the system asks whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Listens on `addr` as a proxy should: no delay and keepalive on every
/// accepted socket (on Linux they are set once, on the listener), and the
/// address free again as soon as the program has ended.
///
/// An IPv6 address takes IPv6 alone, so that `0.0.0.0` and `::` can be listened
/// on side by side.
///
/// # Errors
///
/// Those of `socket(2)`, `bind(2)` and `listen(2)`; among them
/// [`io::ErrorKind::AddrInUse`]. Must be called within a Tokio runtime.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(addr);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Windows this would let two servers share a port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    let socket_ref = SockRef::from(&socket);
    socket_ref.set_tcp_nodelay(true)?;
    socket_ref.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
