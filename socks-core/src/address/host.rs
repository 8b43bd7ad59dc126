//! A host: an address or a name.

use core::{fmt, net::IpAddr, str::FromStr};

use super::{
    literal::ip_literal,
    name::{DomainName, utf8},
};
use crate::DomainNameError;

/// An IP address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, which somebody has to look up.
    Name(DomainName),
}

impl Host {
    /// Reads an address in any spelling that a resolver would take for one,
    /// else a name.
    ///
    /// That is: IPv6 with or without brackets and zone, and all of what
    /// `inet_aton` takes: `127.0.0.1`, `127.1`, `0x7f.1`, `017700000001`,
    /// `2130706433`, each with or without a trailing dot. A rule that is
    /// asked about a name thus never overlooks an address.
    ///
    /// # Errors
    ///
    /// [`DomainNameError`], if it is neither. A name that ends in a number
    /// without being an address (`1.2.3.4.5`, `127.0.0.09`) is one that
    /// resolvers disagree about, and refused.
    pub fn parse(host: &str) -> Result<Self, DomainNameError> {
        match ip_literal(host) {
            Some(ip) => Ok(Self::Ip(ip)),
            None => DomainName::new(host).map(Self::Name),
        }
    }

    pub(crate) fn from_name_field(host: &[u8]) -> Result<Self, DomainNameError> {
        Self::parse(utf8(host)?)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for Host {
    type Err = DomainNameError;

    fn from_str(host: &str) -> Result<Self, DomainNameError> {
        Self::parse(host)
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl From<DomainName> for Host {
    fn from(name: DomainName) -> Self {
        Self::Name(name)
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_an_address() {
        let loopback = Host::Ip(Ipv4Addr::LOCALHOST.into());
        for spelling in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0X7F.0.0.1",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "2130706433",
            "2130706433.",
            "127.0x1",
            "127.0.0.01",
            "00000177.1",
        ] {
            assert_eq!(Host::parse(spelling), Ok(loopback.clone()), "{spelling}");
        }
        for spelling in ["::1", "[::1]", "::1%lo", "[::1%1]", "0:0:0:0:0:0:0:1"] {
            assert_eq!(
                Host::parse(spelling),
                Ok(Host::Ip(Ipv6Addr::LOCALHOST.into())),
                "{spelling}"
            );
        }
        assert_eq!(Host::parse("0"), Ok(Host::Ip(Ipv4Addr::UNSPECIFIED.into())));
    }

    #[test]
    fn the_last_number_fills_what_is_left() {
        for (spelling, ip) in [
            ("4294967295", [255, 255, 255, 255]),
            ("1.16777215", [1, 255, 255, 255]),
            ("1.2.65535", [1, 2, 255, 255]),
            ("1.2.3.255", [1, 2, 3, 255]),
            ("255.255.1", [255, 255, 0, 1]),
        ] {
            assert_eq!(Host::parse(spelling), Ok(Host::Ip(ip.into())), "{spelling}");
        }
    }

    #[test]
    fn what_resolvers_disagree_about_is_no_name() {
        for host in [
            "1.2.3.4.5",
            "127.0.0.09",
            "6425673729",
            "256.256.256.256",
            "256.1",
            "1.256.3.4",
            "0x100.0.0.1",
            "1.2.65536",
            "1.16777216",
            "4294967296",
            "a.1",
            "0x",
            "foo.0x7f",
            "127.0.0.1.1.",
            "127.0.0.1..",
            "[127.0.0.1]",
            "127.0.0.1%lo",
            "[::1]:80",
            "::1.",
            "+1",
            "0x+1",
        ] {
            let parsed = Host::parse(host);
            let is_name = matches!(parsed, Ok(Host::Name(_)));
            assert_eq!(is_name, host.contains('+'), "{host}: {parsed:?}");
            assert!(!matches!(parsed, Ok(Host::Ip(_))), "{host}");
        }
    }
}
