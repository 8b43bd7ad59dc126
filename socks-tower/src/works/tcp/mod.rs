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
//! # Where connections come from
//!
//! The system chooses the local address, unless [`with_sources`] names one. A
//! [`SourceAddrs`] in the session's extensions goes before that, so a layer can
//! give each client its own:
//!
//! ```
//! use std::net::Ipv4Addr;
//!
//! use socks_tower::{HasSession, Pinned, Request, TcpConnector, works::tcp::SourceAddrs};
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .map_request(|mut request: Request<Pinned>| {
//!         let session = request.session_mut();
//!         let alice = session.identity.as_ref().is_some_and(|who| who.as_str() == "alice");
//!         if alice {
//!             session.extensions.insert(SourceAddrs::from(Ipv4Addr::new(127, 0, 0, 2)));
//!         }
//!         request
//!     })
//!     .service(TcpConnector::new());
//! # fn check(_: impl socks_tower::Connector<Request<Pinned>>) {}
//! # check(connector);
//! ```
//!
//! Once there is a source address, only targets of a family that has one are
//! dialled: nothing leaves from an address that nobody chose. A source address
//! can have no more connections at a time than there are ephemeral ports
//! (28,232, by `net.ipv4.ip_local_port_range`'s default), whatever the targets;
//! where the system chooses, that many to each target.
//!
//! # System calls
//!
//! A connection takes `socket`, one `setsockopt` for [`with_nodelay`], two for
//! keepalive (one with [`Keepalive::System`]), `connect` and `epoll_ctl`; outside
//! Linux also `getsockopt`. A source address adds `bind`, and
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
//! [`with_sources`]: TcpConnector::with_sources
//! [`with_nodelay`]: TcpConnector::with_nodelay

mod dial;
mod error;
pub mod race;
mod source;

use std::{borrow::Cow, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

pub(crate) use dial::not_to_itself;
use dial::{Options, dial};
pub use error::ConnectError;
pub use race::Race;
pub use source::SourceAddrs;
use tokio::net::{TcpSocket, TcpStream};
use tower_service::Service;

pub use crate::session::Keepalive;
use crate::session::{EAFNOSUPPORT, Pinned, Request, always_ready, opaque_future};

/// No system gives a socket a port below this one that did not ask for it.
const MIN_EPHEMERAL: u16 = 1024;

/// A connector over TCP. See the [module's page](self).
#[derive(Clone, Debug, Default)]
pub struct TcpConnector {
    race: Race,
    options: Options,
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

    /// Dials from `sources`: an address, or one for each family that may be
    /// dialled.
    #[must_use]
    pub fn with_sources(mut self, sources: impl Into<SourceAddrs>) -> Self {
        self.options.source = sources.into();
        self
    }

    /// Runs `setup` on each socket, bound and ready to connect to the address
    /// given, for whatever has no method here: `SO_MARK`, `SO_BINDTODEVICE`,
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

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        let Self { race, mut options } = self.clone();
        if let Some(source) = request.session.extensions.get() {
            options.source = *source;
        }
        let target = request.target;
        TcpConnectorFuture::new(Box::pin(async move {
            connect(target.addrs(), race, &options).await
        }))
    }
}

type BoxConnect = Pin<Box<dyn Future<Output = Result<TcpStream, ConnectError>> + Send>>;

opaque_future! {
    /// The future of [`TcpConnector`].
    TcpConnectorFuture<> -> Result<TcpStream, ConnectError> = BoxConnect
}

async fn connect(
    addrs: &[SocketAddr],
    race: Race,
    options: &Options,
) -> Result<TcpStream, ConnectError> {
    if addrs.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    if addrs.iter().any(|addr| addr.port() == 0) {
        return Err(ConnectError::NoPort);
    }
    let addrs = if options.source.is_empty() {
        Cow::Borrowed(addrs)
    } else {
        let served = addrs.iter().filter(|addr| options.source.serves(addr));
        served.copied().collect()
    };
    if addrs.is_empty() {
        // What the system would say if it were asked.
        let source = io::Error::from_raw_os_error(EAFNOSUPPORT);
        return Err(ConnectError::NoSource(source.into()));
    }
    // One alone is looked at by whoever asks for its local address anyway.
    let is_race = addrs.len() > 1;
    let dial = async |addr: SocketAddr| {
        let stream = dial(addr, options).await?;
        if is_race && addr.port() >= MIN_EPHEMERAL {
            not_to_itself(&stream)?;
        }
        Ok(stream)
    };
    let connected = race.run(&addrs, dial).await;
    connected.map_err(ConnectError::most_telling)
}
