use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The local addresses that connections come from: one for IPv4 targets, one
/// for IPv6 targets, or both.
///
/// In a session's extensions it goes before what the
/// [`TcpConnector`](super::TcpConnector) was set to. A family without an address
/// is not dialled, unless there is none at all, which leaves everything to the
/// system. `0.0.0.0` and `::` leave their family to the system.
///
/// ```
/// use std::net::{Ipv4Addr, Ipv6Addr};
///
/// use socks_tower::works::tcp::SourceAddrs;
///
/// let v4_alone = SourceAddrs::from(Ipv4Addr::new(192, 0, 2, 7));
/// let any_v6_too = v4_alone.with(Ipv6Addr::UNSPECIFIED.into());
/// assert_ne!(v4_alone, any_v6_too);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceAddrs {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl SourceAddrs {
    /// None: the system chooses.
    #[must_use]
    pub const fn new() -> Self {
        Self { v4: None, v6: None }
    }

    /// Sets the address of `source`'s family; an IPv4-mapped one is IPv4.
    #[must_use]
    pub const fn with(mut self, source: IpAddr) -> Self {
        match source.to_canonical() {
            IpAddr::V4(ip) => self.v4 = Some(ip),
            IpAddr::V6(ip) => self.v6 = Some(ip),
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::new()
    }

    /// Whether `target` is of a family that has an address here.
    pub(crate) fn serves(&self, target: &SocketAddr) -> bool {
        self.of_family(target).is_some()
    }

    /// What to bind to before `target` is dialled, if to anything.
    pub(crate) fn to_bind(self, target: &SocketAddr) -> Option<SocketAddr> {
        let source = self.of_family(target)?;
        (!source.is_unspecified()).then_some(SocketAddr::new(source, 0))
    }

    fn of_family(&self, target: &SocketAddr) -> Option<IpAddr> {
        match target {
            SocketAddr::V4(_) => self.v4.map(IpAddr::V4),
            SocketAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

impl From<IpAddr> for SourceAddrs {
    fn from(source: IpAddr) -> Self {
        Self::new().with(source)
    }
}

impl From<Ipv4Addr> for SourceAddrs {
    fn from(source: Ipv4Addr) -> Self {
        Self::new().with(source.into())
    }
}

impl From<Ipv6Addr> for SourceAddrs {
    fn from(source: Ipv6Addr) -> Self {
        Self::new().with(source.into())
    }
}
