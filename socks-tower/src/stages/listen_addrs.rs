//! Where a proxy listens on behalf of a client, and what it says of that.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use crate::{session::Session, works::egress::Way};

/// Where to listen on behalf of clients, and by which address others get there.
///
/// Nothing needs to be set where the machine has its addresses itself. Behind a
/// NAT, say by which address it is reached; behind a firewall, which ports that
/// lets through.
///
/// ```
/// use std::net::Ipv4Addr;
/// use socks_tower::ListenAddrs;
///
/// let addrs = ListenAddrs::new()
///     .with_advertised(Ipv4Addr::new(203, 0, 113, 7).into())?
///     .with_ports(40_000..=40_999);
/// # Ok::<(), socks_tower::stages::UnspecifiedError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenAddrs {
    ips: PerFamily,
    advertised: PerFamily,
    ports: Option<RangeInclusive<u16>>,
}

/// At most one address of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct PerFamily {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl PerFamily {
    fn set(&mut self, ip: IpAddr) {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4 = Some(ip),
            IpAddr::V6(ip) => self.v6 = Some(ip),
        }
    }

    fn of(self, family: IpAddr) -> Option<IpAddr> {
        match family {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

/// An address to listen on, and the one to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddr {
    /// May be unspecified, if all of this machine's are listened on. Its port
    /// is 0; the scope of a link-local one is the interface that the client came
    /// by.
    pub(crate) local: SocketAddr,
    /// Never unspecified.
    pub(crate) told: IpAddr,
}

/// An unspecified address was to be advertised.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("an unspecified address cannot be advertised: nobody can reach it")]
#[non_exhaustive]
pub struct UnspecifiedError;

impl ListenAddrs {
    /// How many ports of a range are tried. One that has so many taken in a row
    /// is as good as full, and each try costs system calls.
    const MAX_TRIES: u16 = 1024;

    /// Listens on the address that the peer is reached from, or that the client
    /// came to, on whatever port the system gives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on `ip` for peers of its family. `0.0.0.0` and `::` listen on
    /// all addresses; an IPv4-mapped one is IPv4.
    #[must_use]
    pub fn with_ip(mut self, ip: IpAddr) -> Self {
        self.ips.set(ip);
        self
    }

    /// Tells clients `ip` in the place of the address listened on, for peers of
    /// its family: that of the NAT in front.
    ///
    /// # Errors
    ///
    /// If `ip` is `0.0.0.0` or `::`, which nobody can reach.
    pub fn with_advertised(mut self, ip: IpAddr) -> Result<Self, UnspecifiedError> {
        if ip.to_canonical().is_unspecified() {
            return Err(UnspecifiedError);
        }
        self.advertised.set(ip);
        Ok(self)
    }

    /// Listens on ports of `range` alone. They are tried from a random one on,
    /// up to 1,024 of them. Port 0 is whatever port the system gives, and an
    /// empty range has none.
    #[must_use]
    pub fn with_ports(mut self, range: RangeInclusive<u16>) -> Self {
        self.ports = Some(range);
        self
    }

    /// Where to listen for `peer`; unspecified, it is anybody of that family.
    /// None, if this machine is not known to have an address of the family, or
    /// `way` has none.
    pub(crate) fn towards(&self, peer: IpAddr, session: &Session, way: &Way) -> Option<ListenAddr> {
        let peer = peer.to_canonical();
        if !way.serves(peer) {
            return None;
        }
        let advertised = self.advertised.of(peer);
        let source = way.source(peer);
        let set = self.ips.of(peer).or(source);
        let found = || match set.filter(|ip| !ip.is_unspecified()).or(source) {
            Some(ip) => Some(ip),
            None => own_ip(peer, session, way),
        };
        let told = advertised.or_else(found)?;
        let local = match (set, advertised) {
            (Some(ip), _) => ip,
            // The client may have come from another side than the peer will.
            (None, Some(_)) if peer.is_unspecified() => peer,
            (None, Some(_)) => own_ip(peer, session, way).unwrap_or(unspecified(peer)),
            (None, None) => told,
        };
        let local = scoped(local, session);
        Some(ListenAddr { local, told })
    }

    /// Opens a socket by `open` at `addr`, on a port that may be used and is free.
    ///
    /// # Errors
    ///
    /// The first of `open`'s errors that is not [`io::ErrorKind::AddrInUse`];
    /// that one, if no port is free.
    pub(crate) fn open<T>(
        &self,
        mut addr: SocketAddr,
        mut open: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(range) = &self.ports else {
            return open(addr);
        };
        for port in shuffled(range).take(Self::MAX_TRIES.into()) {
            addr.set_port(port);
            match open(addr) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                opened => return opened,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// `ip`, with the scope of the address that the client came to if it is that one.
fn scoped(ip: IpAddr, session: &Session) -> SocketAddr {
    let came_to = session.local_addr.filter(|addr| addr.ip() == ip);
    let mut addr = came_to.unwrap_or(SocketAddr::new(ip, 0));
    addr.set_port(0);
    addr
}

/// Our address by which `peer` reaches us; for anybody, by which the client did.
fn own_ip(peer: IpAddr, session: &Session, way: &Way) -> Option<IpAddr> {
    let reached = session.local_addr.map(|addr| addr.ip());
    let reached = reached.filter(|ip| ip.is_ipv4() == peer.is_ipv4());
    if peer.is_unspecified() {
        reached.or_else(|| source_towards(somewhere(peer), way))
    } else {
        source_towards(peer, way).or(reached)
    }
}

/// The address that packets to `peer` come from. Nothing is sent for that.
fn source_towards(peer: IpAddr, way: &Way) -> Option<IpAddr> {
    // Any port but 0 will do.
    let socket = way.towards(SocketAddr::new(peer, 9)).ok()?;
    let source = socket.local_addr().ok()?.as_socket()?.ip();
    (!source.is_unspecified()).then_some(source)
}

/// Some address off this machine's networks, of `family`: one of those that
/// stand in documents.
fn somewhere(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    }
}

fn unspecified(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The ports of `range`, each once, from a random one on: a stranger cannot
/// tell which is next.
fn shuffled(range: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    let (low, high) = (*range.start(), *range.end());
    let first = match high.checked_sub(low) {
        // std's hasher is keyed at random, each time anew.
        Some(span) => RandomState::new().hash_one(()) % (u64::from(span) + 1),
        None => 0,
    };
    let first = low.saturating_add(u16::try_from(first).unwrap_or_default());
    (first..=high).chain(low..first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::works::egress::Egress;

    fn ip(ip: &str) -> IpAddr {
        ip.parse().unwrap()
    }

    fn any_port(text: &str) -> SocketAddr {
        SocketAddr::new(ip(text), 0)
    }

    fn reached_at(addr: &str) -> Session {
        Session::new().with_local_addr(addr.parse().unwrap())
    }

    fn towards(addrs: &ListenAddrs, peer: &str, session: &Session) -> (String, String) {
        let ListenAddr { local, told } = addrs.towards(ip(peer), session, &Way::default()).unwrap();
        (local.ip().to_string(), told.to_string())
    }

    fn both(ip: &str) -> (String, String) {
        (ip.into(), ip.into())
    }

    #[test]
    fn a_named_peer_is_told_the_address_that_it_can_reach() {
        // Wherever the client came to, which a peer on loopback may not reach.
        let session = reached_at("192.0.2.7:1080");
        let addrs = ListenAddrs::new();
        assert_eq!(towards(&addrs, "127.0.0.1", &session), both("127.0.0.1"));
        assert_eq!(
            towards(&addrs, "::ffff:127.0.0.1", &session),
            both("127.0.0.1")
        );
    }

    #[test]
    fn for_anybody_it_is_the_address_that_the_client_came_to() {
        let addrs = ListenAddrs::new();
        for (peer, reached) in [("0.0.0.0", "192.0.2.7"), ("::", "2001:db8::7")] {
            let session = Session::new().with_local_addr((ip(reached), 1080).into());
            assert_eq!(towards(&addrs, peer, &session), both(reached));
        }
    }

    #[test]
    fn a_link_local_address_has_the_scope_that_the_client_came_by() {
        let session = reached_at("[fe80::7%3]:1080");
        let addrs = ListenAddrs::new();
        let found = addrs.towards(ip("::"), &session, &Way::default()).unwrap();
        assert_eq!(found.local.to_string(), "[fe80::7%3]:0");
        assert_eq!(found.told, ip("fe80::7"));
        let opened = addrs.with_ports(9..=9).open(found.local, Ok).unwrap();
        assert_eq!(opened.to_string(), "[fe80::7%3]:9");
    }

    #[test]
    fn what_is_told_is_never_unspecified() {
        let session = reached_at("192.0.2.7:1080");
        let anywhere = ListenAddrs::new().with_ip(ip("0.0.0.0"));
        for unspecified in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            let told = anywhere.clone().with_advertised(ip(unspecified));
            assert_eq!(told, Err(UnspecifiedError), "{unspecified}");
        }
        let expected = ("0.0.0.0".to_owned(), "192.0.2.7".to_owned());
        assert_eq!(towards(&anywhere, "0.0.0.0", &session), expected);
    }

    #[test]
    fn what_is_set_goes_before_what_is_found_for_its_family() {
        let session = reached_at("192.0.2.7:1080");
        let set = ListenAddrs::new().with_ip(ip("192.0.2.8"));
        assert_eq!(towards(&set, "127.0.0.1", &session), both("192.0.2.8"));

        let told = set.clone().with_advertised(ip("203.0.113.7")).unwrap();
        let expected = ("192.0.2.8".to_owned(), "203.0.113.7".to_owned());
        assert_eq!(towards(&told, "0.0.0.0", &session), expected);

        let session = reached_at("[2001:db8::7]:1080");
        assert_eq!(towards(&told, "::", &session), both("2001:db8::7"));
    }

    #[test]
    fn a_source_address_is_listened_on_unless_another_is_set() {
        let session = reached_at("127.0.0.1:1080");
        let way = Egress::from(ip("127.0.0.2")).way(&session);
        let towards = |addrs: &ListenAddrs, peer: &str| {
            let found = addrs.towards(ip(peer), &session, &way)?;
            Some((found.local.ip().to_string(), found.told.to_string()))
        };
        let found = ListenAddrs::new();
        for peer in ["0.0.0.0", "127.0.0.1"] {
            assert_eq!(towards(&found, peer), Some(both("127.0.0.2")));
        }
        assert_eq!(towards(&found, "::1"), None);
        let set = ListenAddrs::new().with_ip(ip("127.0.0.3"));
        assert_eq!(towards(&set, "0.0.0.0"), Some(both("127.0.0.3")));
        let all = ListenAddrs::new().with_ip(ip("0.0.0.0"));
        let told = ("0.0.0.0".to_owned(), "127.0.0.2".to_owned());
        assert_eq!(towards(&all, "0.0.0.0"), Some(told));
        let advertised = found.with_advertised(ip("203.0.113.7")).unwrap();
        let told = ("127.0.0.2".to_owned(), "203.0.113.7".to_owned());
        assert_eq!(towards(&advertised, "0.0.0.0"), Some(told));
    }

    #[test]
    fn behind_a_nat_anybody_may_come_to_any_address() {
        let session = reached_at("127.0.0.1:1080");
        let told = ListenAddrs::new()
            .with_advertised(ip("203.0.113.7"))
            .unwrap();
        let expected = |local: &str| (local.to_owned(), "203.0.113.7".to_owned());
        assert_eq!(towards(&told, "0.0.0.0", &session), expected("0.0.0.0"));
        assert_eq!(towards(&told, "127.0.0.1", &session), expected("127.0.0.1"));
    }

    #[test]
    fn all_ports_of_a_range_are_tried_once_and_no_others() {
        let addrs = ListenAddrs::new().with_ports(40_000..=40_009);
        for _ in 0..20 {
            let mut tried = Vec::new();
            let error = addrs.open(any_port("127.0.0.1"), |addr| {
                tried.push(addr.port());
                Err::<(), _>(io::ErrorKind::AddrInUse.into())
            });
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert_eq!(tried.len(), 10);
            assert_eq!(BTreeSet::from_iter(tried), (40_000..=40_009).collect());
        }
    }

    #[test]
    fn the_first_port_differs_from_time_to_time() {
        let addrs = ListenAddrs::new().with_ports(1..=u16::MAX);
        let open = || addrs.open(any_port("::1"), |addr| Ok(addr.port())).unwrap();
        let first: BTreeSet<_> = (0..10).map(|_| open()).collect();
        assert!(first.len() > 1, "{first:?}");
    }

    #[test]
    fn trying_ports_is_bounded_and_stops_at_another_error() {
        let addrs = ListenAddrs::new().with_ports(1..=u16::MAX);
        let mut tries = 0;
        let full = addrs.open(any_port("::1"), |_| {
            tries += 1;
            Err::<(), _>(io::ErrorKind::AddrInUse.into())
        });
        assert_eq!((tries, full.is_err()), (1024, true));

        let denied = || Err::<(), _>(io::ErrorKind::PermissionDenied.into());
        let error = addrs.open(any_port("::1"), |_| denied()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn an_empty_range_has_no_port() {
        #[expect(clippy::reversed_empty_ranges, reason = "that is the point")]
        let addrs = ListenAddrs::new().with_ports(9..=8);
        let none = addrs.open(any_port("::1"), |_| Ok(())).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::AddrInUse);
    }
}
