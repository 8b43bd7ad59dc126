use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The lengths of both addresses in version 2, by family.
pub(super) const V4_LEN: usize = 12;
pub(super) const V6_LEN: usize = 36;
pub(super) const UNIX_LEN: usize = 216;

/// Where a connection comes from and where it went, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoints {
    /// IPv4.
    V4 {
        /// The client.
        source: SocketAddrV4,
        /// Where it connected to.
        destination: SocketAddrV4,
    },
    /// IPv6.
    V6 {
        /// The client.
        source: SocketAddrV6,
        /// Where it connected to.
        destination: SocketAddrV6,
    },
}

impl Endpoints {
    /// Names both ends. If only one of them is IPv4, it is written in IPv6's
    /// mapped form; scope and flow of an IPv6 address are left out, as there
    /// is no place for them.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => Self::V4 {
                source,
                destination,
            },
            (source, destination) => Self::V6 {
                source: mapped(source),
                destination: mapped(destination),
            },
        }
    }

    /// The client.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        match *self {
            Self::V4 { source, .. } => SocketAddr::V4(source),
            Self::V6 { source, .. } => SocketAddr::V6(source),
        }
    }

    /// Where it connected to.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        match *self {
            Self::V4 { destination, .. } => SocketAddr::V4(destination),
            Self::V6 { destination, .. } => SocketAddr::V6(destination),
        }
    }
}

fn mapped(addr: SocketAddr) -> SocketAddrV6 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, addr.port(), 0, 0)
}
