use std::net::IpAddr;

/// Which addresses of a name are used, and which are tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// All, in the order of RFC 6724: IPv6 first where the host has a route for it.
    #[default]
    Any,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// IPv4 first.
    PreferIpv4,
    /// IPv6 first.
    PreferIpv6,
}

impl Family {
    /// Whether IPv4 is used, and whether IPv6.
    pub(super) fn uses(self, ip: &IpAddr) -> bool {
        match self {
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
            Self::Any | Self::PreferIpv4 | Self::PreferIpv6 => true,
        }
    }

    /// Leaves the addresses that are used, those first that are preferred. Within a
    /// family their order stays.
    pub(super) fn arrange(self, addrs: &mut Vec<IpAddr>) {
        addrs.retain(|ip| self.uses(ip));
        match self {
            Self::PreferIpv4 => addrs.sort_by_key(IpAddr::is_ipv6),
            Self::PreferIpv6 => addrs.sort_by_key(IpAddr::is_ipv4),
            Self::Any | Self::Ipv4 | Self::Ipv6 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_first_or_alone_and_its_order_stays() {
        let addrs = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"];
        for (family, expected) in [
            (Family::Any, &[0, 1, 2, 3][..]),
            (Family::Ipv4, &[0, 2]),
            (Family::Ipv6, &[1, 3]),
            (Family::PreferIpv4, &[0, 2, 1, 3]),
            (Family::PreferIpv6, &[1, 3, 0, 2]),
        ] {
            let mut arranged: Vec<IpAddr> = addrs.iter().map(|ip| ip.parse().unwrap()).collect();
            family.arrange(&mut arranged);
            let arranged: Vec<_> = arranged.iter().map(ToString::to_string).collect();
            let expected: Vec<_> = expected.iter().map(|at: &usize| addrs[*at]).collect();
            assert_eq!(arranged, expected, "{family:?}");
        }
    }
}
