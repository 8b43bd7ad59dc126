use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::session::Session;

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits,
/// which is the least that a host is given and so all its own.
///
/// ```
/// use socks_tower::session::ClientKey;
///
/// let key = |ip: &str| ip.parse().map(ClientKey::of);
/// assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::"));
/// assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
/// assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(IpAddr);

impl ClientKey {
    /// The client at `ip`. A v4-mapped address is IPv4.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(ip.into()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }

    /// The client of `session`; none where addresses mean nothing (a Unix
    /// socket, memory).
    #[must_use]
    pub fn of_session(session: &Session) -> Option<Self> {
        session.client_addr.map(|addr| Self::of(addr.ip()))
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}
