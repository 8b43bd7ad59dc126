//! How connections and datagrams leave: from which address, by which interface,
//! with what mark.
//!
//! An [`Egress`] is set for all by `with_egress` of
//! [`TcpConnector`](crate::TcpConnector), [`BindLayer`](crate::BindLayer) and
//! [`UdpAssociate`](crate::UdpAssociate), or of a ready-made proxy. One in a session's
//! extensions stands in the place of that, whole.
//!
//! # Example
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//! use socks_tower::{
//!     Egress, HasSession, IpNet, Pinned, Request, TcpConnector, works::egress::SourceAddrs,
//! };
//! use tower::ServiceBuilder;
//!
//! # fn run() -> Result<(), socks_tower::BoxError> {
//! // Each user keeps an address of its own, of a network that is routed to us.
//! let net: IpNet = "2001:db8:7::/64".parse()?;
//! let egress = Egress::new()
//!     .with_sources(SourceAddrs::from(net).by_identity())
//!     .with_interface("wan1")
//!     .with_mark(7);
//! // Now, and not at the first connection, it is heard that a right is missing.
//! egress.check()?;
//!
//! // Mail leaves from the one address that other servers know.
//! let mail = Egress::from(Ipv4Addr::new(192, 0, 2, 25));
//! mail.check()?;
//! let connector = ServiceBuilder::new()
//!     .map_request(move |mut request: Request<Pinned>| {
//!         if request.target.target().port == 25 {
//!             request.session_mut().extensions.insert(mail.clone());
//!         }
//!         request
//!     })
//!     .service(TcpConnector::new().with_egress(egress));
//! # fn check(_: impl socks_tower::Connector<Request<Pinned>>) {}
//! # check(connector);
//! # Ok(())
//! # }
//! ```
//!
//! For a user it is also what a verifier says with it
//! ([`Admitted::with_extension`](crate::Admitted::with_extension)), and for a stack a
//! layer behind authentication; both serve BIND and UDP as well.
//!
//! # What goes by it
//!
//! | | CONNECT | BIND | UDP |
//! |---|---|---|---|
//! | when it is asked for | for each target | for each peer | once an association |
//! | source address | dialled from | listened on, if [`ListenAddrs::with_ip`](crate::ListenAddrs::with_ip) names none | sent from |
//! | interface, mark, DSCP | yes | yes, peers on others are not heard | yes; the client's side is not touched |
//! | user timeout, keepalive, congestion control, MPTCP | yes | yes | |
//! | Fast Open | yes | | |
//!
//! Routes are looked up with it, too: by which of its addresses BIND is reached, and
//! which of a name's addresses UDP has a way to. Questions to DNS servers leave as the
//! system has it.
//!
//! # Source addresses
//!
//! Once there is one, only targets of a family that has one are dialled: nothing
//! leaves from an address that nobody chose. `0.0.0.0` and `::` leave their family
//! to the system.
//!
//! Addresses of a network need not be on an interface (`IP_FREEBIND`), but answers
//! must come here: `ip route add local 2001:db8:7::/64 dev lo`, on the machine that
//! the network is routed to. To hash an identity into an IPv6 /64 is to give each
//! one of its own.
//!
//! # What it costs
//!
//! Nothing, where nothing is set. Otherwise a system call for each thing set and
//! each socket. A source address of TCP is two: its port is chosen when it is known
//! where to (`IP_BIND_ADDRESS_NO_PORT`), so that an address has as many
//! connections to *each* target as there are ephemeral ports (28,232, by
//! `net.ipv4.ip_local_port_range`'s default).
//!
//! # Where it runs
//!
//! Source addresses and keepalive everywhere, all else on Linux: elsewhere
//! [`check`](Egress::check) and every socket fail with
//! [`Unsupported`](std::io::ErrorKind::Unsupported).

mod sockets;
mod sources;

use std::{io, sync::Arc, time::Duration};

pub(crate) use sockets::Way;
pub use sources::SourceAddrs;

use crate::session::{Keepalive, Session};

/// How connections and datagrams leave. See the [module's page](self).
///
/// Cheap to clone; clones of one pool take turns together.
#[derive(Clone, Debug, Default)]
pub struct Egress(Option<Arc<Settings>>);

#[derive(Clone, Debug, Default)]
struct Settings {
    sources: SourceAddrs,
    interface: Option<Box<str>>,
    mark: Option<u32>,
    dscp: Option<u8>,
    user_timeout: Option<Duration>,
    keepalive: Option<Keepalive>,
    congestion: Option<Box<str>>,
    mptcp: bool,
    fast_open: Box<[u16]>,
}

impl Egress {
    /// As the system has it.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(self.0.get_or_insert_default()));
        self
    }

    /// From these addresses: those of a pool take turns, or go by a hash of the
    /// client or its identity.
    #[must_use]
    pub fn with_sources(self, sources: impl Into<SourceAddrs>) -> Self {
        self.set(|it| it.sources = sources.into())
    }

    /// By this interface alone, whatever the routes say (`SO_BINDTODEVICE`).
    #[must_use]
    pub fn with_interface(self, name: impl Into<Box<str>>) -> Self {
        self.set(|it| it.interface = Some(name.into()))
    }

    /// With this mark, by which routes (`ip rule … fwmark`) and packet filters go
    /// (`SO_MARK`). Needs `CAP_NET_ADMIN`, or since Linux 5.17 `CAP_NET_RAW`.
    #[must_use]
    pub fn with_mark(self, mark: u32) -> Self {
        self.set(|it| it.mark = Some(mark))
    }

    /// With this code point of the differentiated services (RFC 2474), 0 to 63: 46
    /// is expedited forwarding, 8 the least urgent class.
    #[must_use]
    pub fn with_dscp(self, dscp: u8) -> Self {
        self.set(|it| it.dscp = Some(dscp))
    }

    /// How long what is sent may go without an acknowledgement (RFC 5482,
    /// `TCP_USER_TIMEOUT`), in milliseconds. It decides when keepalive gives up, too.
    /// By default it is Linux's `net.ipv4.tcp_retries2`.
    #[must_use]
    pub fn with_user_timeout(self, timeout: Duration) -> Self {
        self.set(|it| it.user_timeout = Some(timeout))
    }

    /// Whether, and when, the kernel asks a silent peer if it is still there, in the
    /// place of what the connector or BIND was set to.
    #[must_use]
    pub fn with_keepalive(self, keepalive: Keepalive) -> Self {
        self.set(|it| it.keepalive = Some(keepalive))
    }

    /// With this congestion control (`TCP_CONGESTION`), as `bbr`. Those that are not
    /// in `net.ipv4.tcp_allowed_congestion_control` need `CAP_NET_ADMIN`.
    #[must_use]
    pub fn with_congestion_control(self, name: impl Into<Box<str>>) -> Self {
        self.set(|it| it.congestion = Some(name.into()))
    }

    /// Over several paths at once (RFC 8684), where the kernel and the peer can; else
    /// it is plain TCP.
    #[must_use]
    pub fn with_mptcp(self) -> Self {
        self.set(|it| it.mptcp = true)
    }

    /// To targets at these ports with TCP Fast Open (RFC 7413), which saves a round
    /// trip to targets that were reached before.
    ///
    /// The price: to those nothing is sent before the client's first bytes. So its
    /// request is granted before it is known whether the target answers, and a target
    /// that is to speak first never does. Name ports where clients speak first, as
    /// 443; and data that arrives twice must do no harm.
    #[must_use]
    pub fn with_fast_open(self, ports: impl Into<Box<[u16]>>) -> Self {
        self.set(|it| it.fast_open = ports.into())
    }

    /// Tries it out on sockets that go nowhere, for an error at the start of a
    /// program and not at its first connection: a right that is missing, an interface
    /// or an address that this machine has not, a value out of range. Whether a network
    /// is routed to this machine it cannot tell.
    ///
    /// # Errors
    ///
    /// The system's, with what was to be set in the message: of kind
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a missing right;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for what can never be, and
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the system is not Linux.
    pub fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(settings) => sockets::check(settings),
            None => Ok(()),
        }
    }

    /// How the sockets of `session` leave, if this is what goes for all.
    pub(crate) fn way(&self, session: &Session) -> Way {
        let egress = session.extensions.get().unwrap_or(self);
        match &egress.0 {
            Some(settings) => Way::new(settings, session),
            None => Way::default(),
        }
    }
}

/// From these addresses, and else as the system has it.
impl<T: Into<SourceAddrs>> From<T> for Egress {
    fn from(sources: T) -> Self {
        Self::new().with_sources(sources)
    }
}
