use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Listener;
use crate::session::{Accepted, Session};

/// How many connections may wait to be accepted. The system cuts it to its own
/// maximum.
const BACKLOG: i32 = 1024;

/// How long a client may be silent before the system asks whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A TCP listener as a proxy wants it. [`listen`] makes one.
#[derive(Debug)]
pub struct TcpAcceptor {
    listener: TcpListener,
    local_addr: SocketAddr,
}

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
/// [`io::ErrorKind::AddrInUse`].
///
/// # Panics
///
/// If there is no Tokio runtime around it.
pub fn listen(addr: SocketAddr) -> io::Result<TcpAcceptor> {
    TcpAcceptor::from_std(bound(addr, false)?)
}

/// A listening socket. `shared`: others of this program may listen on the same
/// address, and the kernel deals connections out among them.
pub(super) fn bound(addr: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(addr);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Windows this would let two servers share a port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    let _ = shared;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl TcpAcceptor {
    /// A listener that does not block, within a Tokio runtime.
    pub(super) fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self {
            local_addr: listener.local_addr()?,
            listener: TcpListener::from_std(listener)?,
        })
    }

    /// The address that it listens on: the real port, if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<TcpStream>>> {
        let (io, client_addr) = ready!(self.listener.poll_accept(cx))?;
        // Linux hands the listener's options down; elsewhere they are set here.
        #[cfg(not(target_os = "linux"))]
        let _ = io.set_nodelay(true);
        let mut session = Session::new().with_client_addr(client_addr);
        // Only if it listens on all addresses does the socket know more.
        let local_addr = if self.local_addr.ip().is_unspecified() {
            io.local_addr().ok()
        } else {
            Some(self.local_addr)
        };
        if let Some(local_addr) = local_addr {
            session = session.with_local_addr(local_addr);
        }
        Poll::Ready(Ok(Accepted::new(io, session)))
    }
}

impl Listener for TcpAcceptor {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }
}

/// Several addresses, one stack: whichever has a connection. They take turns,
/// so that a busy one does not starve the others.
impl Listener for Vec<TcpAcceptor> {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        let (accepted, at) = poll_fn(|cx| {
            for (at, listener) in self.iter().enumerate() {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready((accepted, at));
                }
            }
            Poll::Pending
        })
        .await;
        self.rotate_left(at + 1);
        accepted
    }
}

/// For socket options that [`listen`] does not set.
#[cfg(unix)]
impl std::os::fd::AsFd for TcpAcceptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn an_ipv6_address_takes_ipv6_alone() {
        let listener = listen("[::1]:0".parse().unwrap()).unwrap();
        assert!(SockRef::from(&listener.listener).only_v6().unwrap());
    }
}
