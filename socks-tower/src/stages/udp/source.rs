//! Who may send through an association.

use std::net::{IpAddr, SocketAddr};

use socks_core::Target;

/// Where the client's datagrams come from, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// The address that the client's TCP connection comes from.
    ip: IpAddr,
    port: Option<u16>,
    /// As its last pinned datagram had it: with a scope, where that matters.
    seen: Option<SocketAddr>,
}

impl Source {
    /// The client at `ip`, which said that it would send from `declared`.
    ///
    /// That only counts if it names its own address. Behind a NAT it names one
    /// that we never see, and many a client names none.
    pub(super) fn new(ip: IpAddr, declared: &Target) -> Self {
        let ip = ip.to_canonical();
        let declared = declared.socket_addr();
        let own = declared.filter(|addr| addr.ip().to_canonical() == ip && addr.port() != 0);
        Self {
            ip,
            port: own.map(|addr| addr.port()),
            seen: None,
        }
    }

    /// Whether a datagram from `from` may be the client's.
    pub(super) fn admits(&self, from: SocketAddr) -> bool {
        from.ip().to_canonical() == self.ip && self.port.is_none_or(|port| port == from.port())
    }

    /// Takes `from`, which must be admitted, for the client from now on.
    pub(super) fn pin(&mut self, from: SocketAddr) {
        self.port = Some(from.port());
        self.seen = Some(from);
    }

    /// Where answers go; none as long as nobody knows.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        let declared = || Some(SocketAddr::new(self.ip, self.port?));
        self.seen.or_else(declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    fn source(ip: &str, declared: &str) -> Source {
        Source::new(ip.parse().unwrap(), &declared.parse().unwrap())
    }

    #[test]
    fn the_first_port_that_is_pinned_is_the_only_one() {
        let mut source = source("192.0.2.7", "0.0.0.0:0");
        assert!(!source.admits(addr("192.0.2.8:1")));
        assert!(source.admits(addr("192.0.2.7:1")) && source.admits(addr("192.0.2.7:2")));
        assert_eq!(source.addr(), None);
        source.pin(addr("192.0.2.7:1"));
        assert!(source.admits(addr("192.0.2.7:1")));
        assert!(!source.admits(addr("192.0.2.7:2")));
        assert_eq!(source.addr(), Some(addr("192.0.2.7:1")));
    }

    #[test]
    fn a_client_that_declares_its_own_address_has_its_port() {
        let source = source("192.0.2.7", "192.0.2.7:5");
        assert!(source.admits(addr("192.0.2.7:5")) && !source.admits(addr("192.0.2.7:6")));
        assert_eq!(source.addr(), Some(addr("192.0.2.7:5")));
    }

    #[test]
    fn another_address_that_is_declared_is_ignored() {
        // A NAT between us; nothing known; PySocks' name; an attacker's victim.
        for declared in [
            "10.0.0.7:5",
            "0.0.0.0:5",
            "0:5",
            "198.51.100.1:5",
            "a.example:5",
        ] {
            let source = source("192.0.2.7", declared);
            assert!(source.admits(addr("192.0.2.7:6")), "{declared}");
            assert!(!source.admits(addr("10.0.0.7:5")), "{declared}");
            assert!(!source.admits(addr("198.51.100.1:5")), "{declared}");
            assert_eq!(source.addr(), None, "{declared}");
        }
        // Its own address without a port says nothing either.
        assert!(source("192.0.2.7", "192.0.2.7:0").admits(addr("192.0.2.7:6")));
    }

    #[test]
    fn mapped_addresses_are_what_they_map() {
        let source = source("::ffff:192.0.2.7", "[::ffff:192.0.2.7]:5");
        assert!(source.admits(addr("192.0.2.7:5")));
        assert!(source.admits(addr("[::ffff:192.0.2.7]:5")));
        assert!(!source.admits(addr("192.0.2.7:6")));
    }
}
