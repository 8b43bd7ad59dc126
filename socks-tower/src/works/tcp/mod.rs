//! Connects to targets over TCP.
//!
//! The connector at the end of most stacks. It dials the addresses that
//! [`ResolveLayer`](crate::ResolveLayer) found and the rules let through, and no
//! others; several of them [`race`].
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use socks_tower::{Command, Request, ResolveLayer, Session, SystemResolver, TcpConnector};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # async fn run() -> Result<(), socks_tower::BoxError> {
//! let connector = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(10))
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .service(TcpConnector::new());
//!
//! let target = "example.com:443".parse()?;
//! let request = Request::new(Session::new(), Command::CONNECT, target);
//! let stream = connector.oneshot(request).await?;
//! println!("from {:?} to {:?}", stream.local_addr(), stream.peer_addr());
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//!
//! There is no time-out here. Put tower's around the stack, as above, where it
//! covers the lookup too; the client then hears TTL expired. Without one, the
//! kernel decides how long an address that never answers takes: on Linux about
//! two minutes (`net.ipv4.tcp_syn_retries`).
//!
//! # How connections leave
//!
//! As the system has it, unless [`with_egress`](TcpConnector::with_egress) says from
//! which address, by which interface, with what mark. An
//! [`Egress`] in the session's extensions goes before that, so that a
//! layer or a verifier can give each client its own: see
//! [`works::egress`](crate::works::egress).
//!
//! # System calls
//!
//! A connection takes `socket`, one `setsockopt` for [`with_nodelay`], two for
//! keepalive (one with [`Keepalive::System`]), `connect` (on Linux twice for a target on
//! loopback, which is not waited for then) and `epoll_ctl`; outside Linux also
//! `getsockopt`. A source address adds `bind` and one `setsockopt`, all
//! else that an [`Egress`] sets one `setsockopt` each, and
//! [`with_setup`](TcpConnector::with_setup) `dup` and `close`.
//!
//! An option that the system does not know is done without, and a warning says so
//! once.
//!
//! # Closed ports of this machine
//!
//! A socket may connect to itself, if the system gives it the port that it dials.
//! [`ConnectLayer`](crate::ConnectLayer) takes such a connection for a refusal.
//! Among several addresses it is one here, for the others to have their turn: for
//! that, ports from 1024 up cost two system calls more. Without the layer, compare
//! the local address of a single one with its peer's.
//!
//! [`with_nodelay`]: TcpConnector::with_nodelay

mod dial;
mod error;
pub mod race;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub(crate) use dial::not_to_itself;
use dial::{Dial, Options, dial};
pub use error::ConnectError;
pub use race::Race;
use socks_core::v5::{Command, ReplyCode};
use tokio::net::{TcpSocket, TcpStream};
use tower_service::Service;

pub use crate::session::Keepalive;
use crate::{
    session::{EAFNOSUPPORT, Pinned, Refusal, Request, always_ready, opaque_future},
    works::egress::{Egress, Way},
};

/// No system gives a socket a port below this one that did not ask for it.
const MIN_EPHEMERAL: u16 = 1024;

/// A connector over TCP. See the [module's page](self).
#[derive(Clone, Debug, Default)]
pub struct TcpConnector {
    race: Race,
    options: Options,
    egress: Egress,
}

impl TcpConnector {
    /// Nodelay and keepalive on, from an address of the system's choice.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How several addresses race: by default as RFC 8305 recommends.
    #[must_use]
    pub fn with_race(mut self, race: Race) -> Self {
        self.race = race;
        self
    }

    /// Whether small writes leave at once (`TCP_NODELAY`). On by default: a
    /// proxy cannot know that more is to come, and waiting for it costs
    /// interactive sessions 40 ms a turn.
    #[must_use]
    pub fn with_nodelay(mut self, nodelay: bool) -> Self {
        self.options.nodelay = nodelay;
        self
    }

    /// Whether, and when, the kernel asks a silent peer if it is still there.
    /// By default after a minute, as of clients.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: Keepalive) -> Self {
        self.options.keepalive = keepalive;
        self
    }

    /// How connections leave: an address to come from, an interface, a mark. By
    /// default as the system has it; an [`Egress`] in a session's extensions goes
    /// before this.
    #[must_use]
    pub fn with_egress(mut self, egress: impl Into<Egress>) -> Self {
        self.egress = egress.into();
        self
    }

    /// Runs `setup` on each socket, bound and ready to connect to the address
    /// given, for whatever has no method here or in [`Egress`], as the sizes of
    /// buffers. Its error fails the attempt.
    ///
    /// ```
    /// # use socks_tower::TcpConnector;
    /// let connector = TcpConnector::new()
    ///     .with_setup(|socket, _target| socket.set_recv_buffer_size(1 << 20));
    /// ```
    #[must_use]
    pub fn with_setup(
        mut self,
        setup: impl Fn(&TcpSocket, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.options.setup = Some(Arc::new(setup));
        self
    }
}

/// The future needs a tokio runtime with I/O enabled, and time, if a target has
/// more than one address. Dropping it closes all sockets that it has opened.
///
/// # Errors
///
/// [`ConnectError`], with the system's own error as its source.
impl Service<Request<Pinned>> for TcpConnector {
    type Response = TcpStream;
    type Error = ConnectError;
    type Future = TcpConnectorFuture;

    always_ready!();

    #[inline]
    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        TcpConnectorFuture::new(Connecting::Begins(Begins {
            race: self.race,
            options: self.options.clone(),
            way: self.egress.way(&request.session),
            command: request.command,
            target: request.target,
        }))
    }
}

opaque_future! {
    /// The future of [`TcpConnector`].
    TcpConnectorFuture<> -> Result<TcpStream, ConnectError> = Connecting
}

/// One address, which most targets have, takes no allocation.
pub(crate) enum Connecting {
    Begins(Begins),
    One(Dial),
    Races(Pin<Box<dyn Future<Output = Result<TcpStream, ConnectError>> + Send>>),
}

#[derive(Clone)]
pub(crate) struct Begins {
    race: Race,
    options: Options,
    way: Way,
    command: Command,
    target: Pinned,
}

impl Future for Connecting {
    type Output = Result<TcpStream, ConnectError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut *self {
                Self::Begins(begins) => {
                    *self = match *begins.addrs()? {
                        // Whoever asks for its local address looks whether it is its own
                        // peer.
                        [addr] => Self::One(dial(addr, &begins.options, &begins.way)?),
                        _ => Self::Races(Box::pin(begins.clone().race())),
                    };
                }
                Self::One(dial) => return Pin::new(dial).poll(cx),
                Self::Races(race) => return race.as_mut().poll(cx),
            }
        }
    }
}

impl Begins {
    /// What is to be dialled: not nothing.
    fn addrs(&mut self) -> Result<&[SocketAddr], ConnectError> {
        let Self {
            way,
            command,
            target,
            ..
        } = self;
        if *command != Command::CONNECT {
            let refusal = Refusal::with(ReplyCode::COMMAND_NOT_SUPPORTED, command.to_string());
            return Err(ConnectError::Command(refusal));
        }
        if target.addrs().is_empty() {
            return Err(ConnectError::NoAddress);
        }
        if target.addrs().iter().any(|addr| addr.port() == 0) {
            return Err(ConnectError::NoPort);
        }
        target.retain(|addr| way.serves(addr.ip()));
        if target.addrs().is_empty() {
            // What the system would say if it were asked.
            let source = io::Error::from_raw_os_error(EAFNOSUPPORT);
            return Err(ConnectError::NoSource(source.into()));
        }
        Ok(target.addrs())
    }

    async fn race(self) -> Result<TcpStream, ConnectError> {
        let dial = async |addr: SocketAddr| {
            let stream = dial(addr, &self.options, &self.way)?.await?;
            if addr.port() >= MIN_EPHEMERAL {
                not_to_itself(&stream)?;
            }
            Ok(stream)
        };
        let connected = self.race.run(self.target.addrs(), dial).await;
        connected.map_err(ConnectError::most_telling)
    }
}
