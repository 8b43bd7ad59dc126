use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What an address is for, if it is not for hosts on the Internet.
///
/// [`of`](Self::of) finds it. Prints as a word or two for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpecialPurpose {
    /// "This host": `0.0.0.0/8` and `::`. Many systems connect to themselves.
    Unspecified,
    /// This host: `127.0.0.0/8` and `::1`.
    Loopback,
    /// RFC 1918's private networks.
    Private,
    /// This link: `169.254.0.0/16` and `fe80::/10`.
    LinkLocal,
    /// What came before unique-local: `fec0::/10`.
    SiteLocal,
    /// IPv6's private networks: `fc00::/7`.
    UniqueLocal,
    /// Between a provider and its customers: `100.64.0.0/10`.
    Shared,
    /// A cloud's service that hands out the credentials of the machine that
    /// asks, by its well-known address. Azure's is in public space.
    Metadata,
    /// A lab's: `198.18.0.0/15` and `2001:2::/48`.
    Benchmarking,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// Assigned to no host on the Internet: `240.0.0.0/4`, `192.0.0.0/24`, and
    /// of IPv6 all that is outside of `2000::/3`, but for NAT64's prefix.
    Reserved,
}

impl SpecialPurpose {
    /// What `ip` is for, if it is not for hosts on the Internet.
    ///
    /// It goes by IANA's special-purpose address registries (RFC 6890). An IPv6
    /// address that embeds an IPv4 address has that one's purpose, in all forms
    /// that can be told by their looks: v4-mapped, v4-compatible, IPv4-translated,
    /// NAT64 (`64:ff9b::/96` and `64:ff9b:1::/48`), 6to4, Teredo (client and
    /// server) and ISATAP.
    ///
    /// The documentation networks (`192.0.2.0/24`, `2001:db8::/32` and the like)
    /// are not among them: nothing is reached there, so nothing needs protection.
    ///
    /// ```
    /// use socks_tower::SpecialPurpose;
    ///
    /// assert_eq!(SpecialPurpose::of("10.0.0.1".parse()?), Some(SpecialPurpose::Private));
    /// assert_eq!(SpecialPurpose::of("64:ff9b::10.0.0.1".parse()?), Some(SpecialPurpose::Private));
    /// assert_eq!(SpecialPurpose::of("8.8.8.8".parse()?), None);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => v6(ip),
        }
    }

    /// A word or two for it, as logs and metrics want it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::SiteLocal => "site-local",
            Self::UniqueLocal => "unique-local",
            Self::Shared => "shared",
            Self::Metadata => "cloud metadata",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for SpecialPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn v4(ip: Ipv4Addr) -> Option<SpecialPurpose> {
    let purpose = match ip.octets() {
        // All large clouds; Amazon's for containers; Alibaba's; Tencent's;
        // Oracle's old one; Azure's.
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [169, 254, 0, 23]
        | [192, 0, 0, 192]
        | [168, 63, 129, 16] => SpecialPurpose::Metadata,
        [0, ..] => SpecialPurpose::Unspecified,
        [127, ..] => SpecialPurpose::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => SpecialPurpose::Private,
        [169, 254, ..] => SpecialPurpose::LinkLocal,
        [100, 64..=127, ..] => SpecialPurpose::Shared,
        [198, 18..=19, ..] => SpecialPurpose::Benchmarking,
        [224..=239, ..] => SpecialPurpose::Multicast,
        [255, 255, 255, 255] => SpecialPurpose::Broadcast,
        [240..=255, ..] | [192, 0, 0, _] => SpecialPurpose::Reserved,
        _ => return None,
    };
    Some(purpose)
}

fn v6(ip: Ipv6Addr) -> Option<SpecialPurpose> {
    let purpose = match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => SpecialPurpose::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => SpecialPurpose::Loopback,
        // Amazon's, also for containers, and Google's.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            SpecialPurpose::Metadata
        }
        [0xfc00..=0xfdff, ..] => SpecialPurpose::UniqueLocal,
        [0xfe80..=0xfebf, ..] => SpecialPurpose::LinkLocal,
        [0xfec0..=0xfeff, ..] => SpecialPurpose::SiteLocal,
        [0xff00..=0xffff, ..] => SpecialPurpose::Multicast,
        [0x2001, 2, 0, ..] => SpecialPurpose::Benchmarking,
        [first, ..] => {
            let routed = matches!(first, 0x2000..=0x3fff) || is_nat64(ip);
            let reserved = (!routed).then_some(SpecialPurpose::Reserved);
            return embedded(ip).find_map(v4).or(reserved);
        }
    };
    Some(purpose)
}

/// The IPv4 addresses within `ip`, to which what is sent to `ip` may go.
pub(super) fn embedded(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = ip.segments();
    let [_, b, c, d, e, f, g, h] = segments;
    let (first, second) = match segments {
        // v4-compatible and v4-mapped; IPv4-translated; both of NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => (Some(ipv4(g, h)), None),
        // 6to4.
        [0x2002, ..] => (Some(ipv4(b, c)), None),
        // Teredo turns the client's bits over, so that no NAT rewrites them.
        [0x2001, 0, ..] => (Some(ipv4(!g, !h)), Some(ipv4(c, d))),
        _ => (None, None),
    };
    // ISATAP, under any prefix. Two of the bits say "universal" and "group".
    let isatap = (e & 0xfcff == 0 && f == 0x5efe).then(|| ipv4(g, h));
    [first, second, isatap].into_iter().flatten()
}

/// The prefix by which a network gives its IPv6 hosts all of IPv4.
fn is_nat64(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..])
}

fn ipv4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(ip: &str) -> Option<SpecialPurpose> {
        SpecialPurpose::of(ip.parse().unwrap())
    }

    /// Each block's first and last address, and what is just outside of it.
    #[test]
    fn blocks_begin_and_end_where_the_registries_say() {
        use SpecialPurpose::*;
        #[rustfmt::skip]
        let blocks = [
            (Unspecified, "0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            (Private, "10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            (Shared, "100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            (Loopback, "127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            (LinkLocal, "169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            (Private, "172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            (Reserved, "192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            (Private, "192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            (Benchmarking, "198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            (Multicast, "224.0.0.0", "239.255.255.255", Some("223.255.255.255"), None),
            (Reserved, "240.0.0.0", "255.255.255.254", None, None),
            (Broadcast, "255.255.255.255", "255.255.255.255", None, None),
            (Unspecified, "::", "::", None, None),
            (Loopback, "::1", "::1", None, None),
            (Benchmarking, "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Some("2001:1:ffff::"), Some("2001:2:1::")),
            (UniqueLocal, "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            (LinkLocal, "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            (SiteLocal, "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            (Multicast, "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
            // Outside of 2000::/3: discard-only, segment routing, never assigned.
            (Reserved, "100::", "100::1:0:0:0", None, None),
            (Reserved, "5f00::", "5f00:ffff::", None, None),
            (Reserved, "200::1", "1fff::", None, Some("2000::")),
            (Reserved, "4000::", "fbff::", Some("3fff:ffff::"), None),
            (Reserved, "64:ff9b:1::808:808", "64:ff9b:1:ffff::808:808", None, Some("64:ff9b::808:808")),
        ];
        for (purpose, first, last, before, after) in blocks {
            assert_eq!(of(first), Some(purpose), "{first}");
            assert_eq!(of(last), Some(purpose), "{last}");
            for outside in [before, after].into_iter().flatten() {
                assert_eq!(of(outside), None, "{outside}");
            }
        }
    }

    #[test]
    fn metadata_services_are_told_from_their_networks() {
        for ip in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.0.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "64:ff9b::168.63.129.16",
        ] {
            assert_eq!(of(ip), Some(SpecialPurpose::Metadata), "{ip}");
        }
    }

    #[test]
    fn hosts_on_the_internet_and_in_documents_have_no_special_purpose() {
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "2001:4860:4860::8888",
            "2001:db8::1",
            "2606:4700::1111",
            "3fff::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
            // Teredo: server 65.54.227.120, client 192.0.2.45.
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::5efe:8.8.8.8",
        ] {
            assert_eq!(of(ip), None, "{ip}");
        }
    }

    /// All forms in which `ip` can stand in an IPv6 address.
    fn embeddings(ip: Ipv4Addr) -> Vec<Ipv6Addr> {
        let bits = u32::from(ip);
        let [a, b, c, d] = ip.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let low_bits = |prefix: &str| {
            let prefix: Ipv6Addr = prefix.parse().unwrap();
            Ipv6Addr::from(u128::from(prefix) | u128::from(bits))
        };
        vec![
            ip.to_ipv6_mapped(),
            low_bits("::"),
            low_bits("::ffff:0:0:0"),
            low_bits("64:ff9b::"),
            low_bits("64:ff9b:1::"),
            low_bits("64:ff9b:1:7:9::"),
            Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5),
            Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 1, !high, !low),
            Ipv6Addr::new(0x2001, 0, high, low, 0x8000, 1, !0x808, !0x808),
            low_bits("2001:db8::5efe:0:0"),
            low_bits("2001:db8::200:5efe:0:0"),
            low_bits("fe80::5efe:0:0"),
        ]
    }

    proptest! {
        #[test]
        fn an_embedded_address_is_as_special_as_it_is_alone(bits: u32, block in 0..14_usize) {
            // Most of IPv4 is not special: look in the blocks that are, too.
            let blocks = [
                0, 0x0a00_0000, 0x6440_0000, 0x7f00_0000, 0xa9fe_0000, 0xac10_0000, 0xc000_0000,
                0xc0a8_0000, 0xc612_0000, 0xe000_0000, 0xf000_0000, 0xffff_ff00, 0xa83f_8100,
            ];
            let ip = match blocks.get(block) {
                Some(block) => Ipv4Addr::from(block | bits & 0xff),
                None => Ipv4Addr::from(bits),
            };
            let alone = SpecialPurpose::of(ip.into());
            for form in embeddings(ip) {
                let purpose = SpecialPurpose::of(form.into());
                prop_assert!(alone.is_none() || purpose.is_some(), "{} in {}", ip, form);
            }
            prop_assert_eq!(SpecialPurpose::of(ip.to_ipv6_mapped().into()), alone);
        }

        #[test]
        fn only_global_unicast_is_not_special(bits: u128) {
            let ip = Ipv6Addr::from(bits);
            if SpecialPurpose::of(ip.into()).is_none() {
                let mapped = ip.to_ipv4_mapped().is_some();
                prop_assert!(bits >> 125 == 1 || is_nat64(ip) || mapped, "{}", ip);
            }
        }
    }
}
