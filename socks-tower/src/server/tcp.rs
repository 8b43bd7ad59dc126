use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Listener;
use crate::session::{Accepted, Keepalive, Session, needed, or_without};

/// How many connections may wait to be accepted. The system cuts it to its own
/// maximum.
const BACKLOG: i32 = 1024;

/// A TCP listener as a proxy wants it.
#[derive(Debug)]
pub struct TcpAcceptor {
    listener: TcpListener,
    local_addr: SocketAddr,
    #[cfg(not(target_os = "linux"))]
    keepalive: Keepalive,
}

/// As [`TcpAcceptor::listen`], with the system's own error, on a socket that `new`
/// makes.
pub(crate) fn open(
    addr: SocketAddr,
    keepalive: Keepalive,
    new: impl FnOnce(Domain, Type) -> io::Result<Socket>,
) -> io::Result<TcpAcceptor> {
    let socket = new(Domain::for_address(addr), Type::STREAM)?;
    TcpAcceptor::new(listening(socket, addr, false, keepalive)?, keepalive)
}

fn plain(domain: Domain, ty: Type) -> io::Result<Socket> {
    Socket::new(domain, ty, Some(Protocol::TCP))
}

/// Whoever reads it sees which address it was, however they print it.
pub(super) fn cannot_listen(addr: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
}

/// A listening socket. `shared`: others of this program may listen on the same
/// address, and the kernel deals connections out among them.
pub(super) fn bound(
    addr: SocketAddr,
    shared: bool,
    keepalive: Keepalive,
) -> io::Result<std::net::TcpListener> {
    let socket = plain(Domain::for_address(addr), Type::STREAM)?;
    listening(socket, addr, shared, keepalive)
}

fn listening(
    socket: Socket,
    addr: SocketAddr,
    shared: bool,
    keepalive: Keepalive,
) -> io::Result<std::net::TcpListener> {
    if addr.is_ipv6() {
        needed("IPV6_V6ONLY", socket.set_only_v6(true))?;
    }
    // On Windows this would let two servers share a port.
    #[cfg(not(windows))]
    needed("SO_REUSEADDR", socket.set_reuse_address(true))?;
    #[cfg(unix)]
    if shared {
        needed("SO_REUSEPORT", socket.set_reuse_port(true))?;
    }
    #[cfg(not(unix))]
    let _ = shared;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    handed_down(SockRef::from(&socket), keepalive);
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets what accepted sockets inherit on Linux.
fn handed_down(listener: SockRef<'_>, keepalive: Keepalive) {
    or_without("TCP_NODELAY", listener.set_tcp_nodelay(true));
    or_without("SO_OOBINLINE", listener.set_out_of_band_inline(true));
    keepalive.set_on(listener);
}

/// Makes one that listens already what [`bound`] makes.
pub(super) fn adopt(listener: &std::net::TcpListener, keepalive: Keepalive) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    handed_down(SockRef::from(listener), keepalive);
    Ok(())
}

/// Changes the keepalive of a listener, and so of what it accepts from now on.
pub(super) fn keep_alive(listener: SockRef<'_>, addr: SocketAddr, keepalive: Keepalive) {
    match keepalive {
        Keepalive::Off => {
            or_without("SO_KEEPALIVE", listener.set_keepalive(false));
        }
        Keepalive::After(_) => keepalive.set_on(listener),
        // Once another time is set, none means the system's.
        Keepalive::System => match system_silence(addr) {
            Ok(silence) => Keepalive::After(silence).set_on(listener),
            Err(error) => {
                or_without("SO_KEEPALIVE", Err(error));
            }
        },
    }
}

/// What a socket has that nobody has touched.
#[cfg(not(windows))]
fn system_silence(addr: SocketAddr) -> io::Result<Duration> {
    let domain = Domain::for_address(addr);
    plain(domain, Type::STREAM)?.tcp_keepalive_time()
}

/// Windows does not say; by its documents it is two hours.
#[cfg(windows)]
fn system_silence(_: SocketAddr) -> io::Result<Duration> {
    Ok(Duration::from_secs(2 * 60 * 60))
}

impl TcpAcceptor {
    /// Listens on `addr` as a proxy should: no delay, [`Keepalive`] and urgent
    /// bytes in line on every accepted socket (on Linux they are set once, on the
    /// listener), and the address free again as soon as the program has ended.
    ///
    /// An IPv6 address takes IPv6 alone, so that `0.0.0.0` and `::` can be listened
    /// on side by side.
    ///
    /// Where the system does not know `TCP_NODELAY` or keepalive, it goes on without,
    /// and a warning says so once.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `setsockopt(2)`, `bind(2)` and `listen(2)`, with the
    /// address in the message; among them [`io::ErrorKind::AddrInUse`].
    ///
    /// # Panics
    ///
    /// If there is no Tokio runtime around it.
    pub fn listen(addr: SocketAddr) -> io::Result<Self> {
        open(addr, Keepalive::default(), plain).map_err(|error| cannot_listen(addr, &error))
    }

    /// Takes over a socket that listens already: one that a service manager passed, or
    /// one with options of your own.
    ///
    /// What is said of accepted sockets at [`listen`](Self::listen) holds for those that
    /// it accepts, too.
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)`, `getsockname(2)` and of registering it with the runtime.
    ///
    /// # Panics
    ///
    /// If there is no Tokio runtime around it.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        adopt(&listener, Keepalive::default())?;
        Self::new(listener, Keepalive::default())
    }

    /// A listener that does not block, within a Tokio runtime.
    pub(super) fn new(
        listener: std::net::TcpListener,
        #[cfg_attr(target_os = "linux", expect(unused_variables, reason = "inherited"))]
        keepalive: Keepalive,
    ) -> io::Result<Self> {
        Ok(Self {
            local_addr: listener.local_addr()?,
            listener: TcpListener::from_std(listener)?,
            #[cfg(not(target_os = "linux"))]
            keepalive,
        })
    }

    /// Whether, and when, the kernel asks a silent client if it is still there.
    /// By default after a minute. It holds for connections that come from now
    /// on.
    #[must_use]
    pub fn with_keepalive(self, keepalive: Keepalive) -> Self {
        keep_alive(SockRef::from(&self.listener), self.local_addr, keepalive);
        Self {
            #[cfg(not(target_os = "linux"))]
            keepalive,
            ..self
        }
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
        {
            let _ = io.set_nodelay(true);
            let _ = SockRef::from(&io).set_out_of_band_inline(true);
            self.keepalive.set_on(SockRef::from(&io));
        }
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
        poll_fn(|cx| poll_any(self, cx)).await
    }
}

/// Accepts from whichever has a connection. They take turns.
pub(super) fn poll_any(
    listeners: &mut [TcpAcceptor],
    cx: &mut Context<'_>,
) -> Poll<io::Result<Accepted<TcpStream>>> {
    for (at, listener) in listeners.iter().enumerate() {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            listeners.rotate_left(at + 1);
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

/// For socket options that [`listen`](Self::listen) does not set.
#[cfg(unix)]
impl std::os::fd::AsFd for TcpAcceptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ipv6_address_takes_ipv6_alone() {
        let listener = TcpAcceptor::listen("[::1]:0".parse().unwrap()).unwrap();
        assert!(SockRef::from(&listener.listener).only_v6().unwrap());
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named_with_the_reason() {
        let taken = TcpAcceptor::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = TcpAcceptor::listen(taken.local_addr()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let addr = taken.local_addr();
        let expected = format!("cannot listen on {addr}: Address already in use");
        assert!(error.to_string().starts_with(&expected), "{error}");
        // As `main` prints it.
        assert!(format!("{error:?}").contains(&expected), "{error:?}");
    }

    /// Whether an accepted socket is kept alive, and after how much silence.
    async fn accepted(mut listener: TcpAcceptor) -> (bool, Duration) {
        let _client = TcpStream::connect(listener.local_addr()).await.unwrap();
        let io = listener.accept().await.unwrap().io;
        let socket = SockRef::from(&io);
        (
            socket.keepalive().unwrap(),
            socket.tcp_keepalive_time().unwrap(),
        )
    }

    #[tokio::test]
    async fn one_that_is_taken_over_accepts_as_one_that_it_made() {
        let made = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut listener = TcpAcceptor::from_std(made).unwrap();
        let _client = TcpStream::connect(listener.local_addr()).await.unwrap();
        let io = listener.accept().await.unwrap().io;
        assert!(io.nodelay().unwrap());
        let socket = SockRef::from(&io);
        assert!(socket.out_of_band_inline().unwrap());
        assert!(socket.keepalive().unwrap());
    }

    #[tokio::test]
    async fn clients_are_kept_alive_as_told() {
        const MINUTE: Duration = Duration::from_secs(60);

        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let listener = || TcpAcceptor::listen(addr.parse().unwrap()).unwrap();
            assert_eq!(accepted(listener()).await, (true, MINUTE));
            let after = listener().with_keepalive(Keepalive::After(3 * MINUTE));
            assert_eq!(accepted(after).await, (true, 3 * MINUTE));
            let never = listener().with_keepalive(Keepalive::Off);
            assert!(!accepted(never).await.0);

            let untouched = TcpStream::connect(listener().local_addr()).await.unwrap();
            let of_system = SockRef::from(&untouched).tcp_keepalive_time().unwrap();
            let system = listener().with_keepalive(Keepalive::System);
            assert_eq!(accepted(system).await, (true, of_system));
        }
    }
}
