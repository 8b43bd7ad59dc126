//! The order in which addresses are tried (RFC 6724 section 6).
//!
//! Rules 3, 4 and 7 want to know what no portable call tells: whether a source address
//! is deprecated, a home address, or behind a tunnel. Rule 9 is left out for IPv4, as
//! elsewhere: it undoes the order by which a zone spreads its load.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

/// Sorts by where this host would send from.
pub(super) fn sort(addrs: &mut [IpAddr]) {
    if addrs.len() > 1 {
        let mut sources = Sources::default();
        sort_by(addrs, |addr| sources.of(addr));
    }
}

fn sort_by(addrs: &mut [IpAddr], mut source: impl FnMut(IpAddr) -> Option<IpAddr>) {
    addrs.sort_by_cached_key(|&addr| {
        let destination = Traits::of(addr);
        let source = source(addr);
        let traits = source.map(Traits::of);
        (
            source.is_none(),
            traits.is_some_and(|source| source.scope != destination.scope),
            traits.is_some_and(|source| source.label != destination.label),
            Reverse(destination.precedence),
            destination.scope,
            Reverse(source.map_or(0, |source| common_prefix(source, addr))),
        )
    });
}

/// Asks the system from where it would send. No datagram leaves.
#[derive(Default)]
struct Sources {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sources {
    fn of(&mut self, addr: IpAddr) -> Option<IpAddr> {
        let (socket, unspecified): (_, IpAddr) = match addr {
            IpAddr::V4(_) => (&mut self.v4, Ipv4Addr::UNSPECIFIED.into()),
            IpAddr::V6(_) => (&mut self.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if socket.is_none() {
            *socket = UdpSocket::bind((unspecified, 0)).ok();
        }
        let socket = socket.as_ref()?;
        // Any port does.
        socket.connect((addr, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    }
}

#[derive(Clone, Copy)]
struct Traits {
    scope: u8,
    precedence: u8,
    label: u8,
}

/// RFC 6724 section 2.1's table: network, bits, precedence, label. The longest match
/// counts, so the longer come first.
const POLICY: [(Ipv6Addr, u32, u8, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
];

impl Traits {
    fn of(addr: IpAddr) -> Self {
        let mapped = match addr {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let is_in = |network: &Ipv6Addr, bits: u32| {
            let differs = (mapped.to_bits() ^ network.to_bits()).leading_zeros();
            differs >= bits
        };
        let row = POLICY
            .iter()
            .find(|(network, bits, ..)| is_in(network, *bits));
        let (precedence, label) = row.map_or((40, 1), |row| (row.2, row.3));
        Self {
            scope: scope(addr),
            precedence,
            label,
        }
    }
}

/// RFC 6724 sections 3.1 and 3.2, by the numbers of RFC 4291 section 2.7.
fn scope(addr: IpAddr) -> u8 {
    const LINK: u8 = 2;
    const SITE: u8 = 5;
    const GLOBAL: u8 = 14;
    match addr {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() => LINK,
        IpAddr::V4(_) => GLOBAL,
        IpAddr::V6(ip) if ip.is_multicast() => ip.octets()[1] & 0xf,
        IpAddr::V6(ip) if ip.is_loopback() || ip.segments()[0] & 0xffc0 == 0xfe80 => LINK,
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfec0 => SITE,
        IpAddr::V6(_) => GLOBAL,
    }
}

/// How many bits of an IPv6 address and the network of its source are the same.
fn common_prefix(source: IpAddr, addr: IpAddr) -> u32 {
    match (source, addr) {
        (IpAddr::V6(source), IpAddr::V6(addr)) => {
            let same = (source.to_bits() ^ addr.to_bits()).leading_zeros();
            same.min(64)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(sources: &[(&str, &str)]) -> Vec<String> {
        let ip = |ip: &str| ip.parse::<IpAddr>().unwrap();
        let mut addrs: Vec<_> = sources.iter().map(|(addr, _)| ip(addr)).collect();
        sort_by(&mut addrs, |addr| {
            let (_, source) = sources.iter().find(|(known, _)| ip(known) == addr)?;
            source.parse().ok()
        });
        addrs.iter().map(ToString::to_string).collect()
    }

    /// The examples of RFC 6724 section 10.2.
    #[test]
    fn the_rfc_s_examples_come_out_as_it_says() {
        for (sources, expected) in [
            // Prefer matching scope.
            (
                &[
                    ("2001:db8:1::1", "2001:db8:1::2"),
                    ("198.51.100.121", "169.254.13.78"),
                ][..],
                &["2001:db8:1::1", "198.51.100.121"][..],
            ),
            (
                &[
                    ("2001:db8:1::1", "fe80::1"),
                    ("198.51.100.121", "198.51.100.117"),
                ],
                &["198.51.100.121", "2001:db8:1::1"],
            ),
            // Prefer higher precedence.
            (
                &[("10.1.2.3", "10.1.2.4"), ("2001:db8:1::1", "2001:db8:1::2")],
                &["2001:db8:1::1", "10.1.2.3"],
            ),
            // Prefer smaller scope.
            (
                &[("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "fe80::2")],
                &["fe80::1", "2001:db8:1::1"],
            ),
            // Use longest matching prefix.
            (
                &[
                    ("2001:db8:3ffe::1", "2001:db8:3f44::2"),
                    ("2001:db8:1::1", "2001:db8:1::2"),
                ],
                &["2001:db8:1::1", "2001:db8:3ffe::1"],
            ),
            // Prefer matching label.
            (
                &[
                    ("2001:db8:1::1", "2002:c633:6401::2"),
                    ("2002:c633:6401::1", "2002:c633:6401::2"),
                ],
                &["2002:c633:6401::1", "2001:db8:1::1"],
            ),
        ] {
            assert_eq!(sorted(sources), expected);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_last_and_else_the_order_stays() {
        let v4 = [
            ("192.0.2.3", "192.0.2.9"),
            ("192.0.2.1", "192.0.2.9"),
            ("192.0.2.2", ""),
        ];
        assert_eq!(sorted(&v4), ["192.0.2.3", "192.0.2.1", "192.0.2.2"]);
        let no_v6 = [("2001:db8::1", ""), ("192.0.2.1", "192.0.2.9")];
        assert_eq!(sorted(&no_v6), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn the_system_knows_where_loopback_is_sent_from() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(Sources::default().of(loopback), Some(loopback));
    }
}
