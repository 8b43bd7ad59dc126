//! What a connector answers with.

use std::{any::Any, fmt, net::SocketAddr};

use socks_core::{Target, client::Client};
use sync_wrapper::SyncWrapper;
use tokio::net::TcpStream;

use crate::session::{BoxStream, Sealed, Stream, WrapsDatagrams, tcp};

/// A stream to the target, with what the stream itself cannot say.
///
/// A connector may answer with any stream; with an `Outbound` if it knows more.
pub struct Outbound<Io> {
    /// The stream.
    pub io: Io,
    /// Where the stream cannot say it.
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) guard: Option<Guard>,
    /// None of a tunnel.
    pub(crate) bound: Option<Box<Bound>>,
}

/// What a proxy has said to BIND or UDP ASSOCIATE.
pub(crate) struct Bound {
    pub(crate) proxy: Target,
    /// Where it listens, or relays datagrams.
    pub(crate) addr: Target,
    /// BIND's second reply is to come.
    pub(crate) client: Client,
    /// What the method that let us in makes of datagrams.
    pub(crate) wrapper: Option<WrapsDatagrams>,
}

/// Whatever is dropped when the tunnel ends.
pub(crate) type Guard = SyncWrapper<Box<dyn Any + Send>>;

impl<Io: Stream> Outbound<Io> {
    /// The local address is known if the stream is plain TCP.
    pub fn new(io: Io) -> Self {
        Self {
            io,
            local_addr: None,
            guard: None,
            bound: None,
        }
    }

    /// Tells the client this BND.ADDR.
    #[must_use]
    pub fn with_local_addr(mut self, addr: SocketAddr) -> Self {
        self.local_addr = Some(addr);
        self
    }

    /// Its local address, which the client hears as BND.ADDR: what has been set, or what
    /// the system says of a plain TCP socket, which it is asked each time.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr.or_else(|| tcp(&self.io)?.local_addr().ok())
    }

    /// Holds `guard` until the tunnel ends: a permit that counts live tunnels,
    /// the load handle of a balancer. One that is there already stays.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Any + Send) -> Self {
        self.guard = Some(SyncWrapper::new(match self.guard {
            Some(first) => Box::new((first, guard)),
            None => Box::new(guard),
        }));
        self
    }

    /// Where an upstream proxy listens on our behalf (BIND), or takes our datagrams
    /// (UDP ASSOCIATE): the answer of a connector that was asked for that, by
    /// [`Request::command`](crate::Request::command). The stream is the connection to
    /// the proxy, then.
    #[must_use]
    pub fn bound(&self) -> Option<&Target> {
        self.bound.as_ref().map(|bound| &bound.addr)
    }

    /// The plain TCP socket that the stream is, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        tcp(&self.io)
    }

    /// The same, of a type that is not told: for a connector that answers with
    /// streams of several types. Plain TCP stays that, as [`BoxStream`] says.
    #[must_use]
    pub fn boxed(self) -> Outbound<BoxStream> {
        self.map_io(BoxStream::new)
    }

    /// The same over another stream, which `wrap` makes of this one; address
    /// and guard stay. Bytes that are to be seen or counted need no wrapping,
    /// which keeps the kernel from carrying them: that is what a
    /// [`Policy`](crate::Policy) is for.
    pub fn map_io<New: Stream>(self, wrap: impl FnOnce(Io) -> New) -> Outbound<New> {
        Outbound {
            local_addr: self.local_addr(),
            io: wrap(self.io),
            guard: self.guard,
            bound: self.bound,
        }
    }
}

impl<Io> fmt::Debug for Outbound<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// What can be an [`Outbound`]: any [`Stream`], and an `Outbound` of one, and
/// nothing else.
pub trait IntoOutbound: Send + Sealed {
    /// The stream.
    type Io: Stream;

    /// The answer as an `Outbound`.
    fn into_outbound(self) -> Outbound<Self::Io>;
}

impl<T: Stream> IntoOutbound for T {
    type Io = T;

    fn into_outbound(self) -> Outbound<T> {
        Outbound::new(self)
    }
}

impl<T: Stream> IntoOutbound for Outbound<T> {
    type Io = T;

    fn into_outbound(self) -> Self {
        self
    }
}
