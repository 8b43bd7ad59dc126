use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use super::{ConnectError, SourceAddrs};

/// Whether, and when, the kernel asks a silent peer if it is still there.
///
/// A peer that does not answer any probe is gone, and the connection fails:
/// with Linux's defaults after nine probes, 75 s apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Keepalive {
    /// Never. A peer that vanishes while it owes us nothing is not missed.
    Off,
    /// After the system's time of silence: on Linux two hours, or what
    /// `net.ipv4.tcp_keepalive_time` says. That is what NATs must wait for
    /// (RFC 5382, REQ-5), and it costs one system call less.
    #[default]
    System,
    /// After this much silence, in whole seconds, at least one and at most
    /// 32,767 (Linux's limit). A minute keeps most firewalls' entries alive.
    After(Duration),
}

impl Keepalive {
    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(32_767);

    fn set_on(self, socket: &TcpSocket) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::System => socket.set_keepalive(true),
            Self::After(silence) => {
                let silence = silence.clamp(Self::MIN, Self::MAX);
                let keepalive = TcpKeepalive::new().with_time(silence);
                SockRef::from(socket).set_tcp_keepalive(&keepalive)
            }
        }
    }
}

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
        socket.bind(source).map_err(|error| ConnectError::Bind {
            source_addr: source.ip(),
            source: error,
        })?;
    }
    if let Some(setup) = &options.setup {
        setup(&socket, addr).map_err(failed)?;
    }
    socket.connect(addr).await.map_err(failed)
}

fn open(addr: SocketAddr, options: &Options) -> io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if options.nodelay {
        socket.set_nodelay(true)?;
    }
    options.keepalive.set_on(&socket)?;
    Ok(socket)
}
