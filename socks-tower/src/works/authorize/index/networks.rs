//! Networks, found by an address.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU32};

use ipnet::{IpNet, Ipv4Net};

use super::values::{Numbers, Value, Values};
use crate::works::authorize::special::embedded;

/// A network of v4-mapped addresses is the IPv4 network: addresses are
/// compared with that form undone, so it would match nothing.
pub(crate) fn canonical(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(net) => net.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    let prefix = net.prefix_len().checked_sub(MAPPED_PREFIX);
    match (mapped, prefix) {
        (Some(ip), Some(prefix)) => Ipv4Net::new(ip, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

/// `::ffff:0:0/96`.
const MAPPED_PREFIX: u8 = 96;

impl Values<IpNet> {
    /// Whether `ip` is in one of them, or leads into one by a detour, if those
    /// count.
    pub(crate) fn hold(&self, ip: IpAddr, detours: bool) -> bool {
        self.any_holds(&ip) || detours && ways(ip).any(|ip| self.any_holds(&ip))
    }
}

/// Where else `ip` leads.
pub(crate) fn ways(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let v6 = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    };
    v6.into_iter().flat_map(embedded).map(IpAddr::V4)
}

impl Value for IpNet {
    type Key = Self;
    type Asked = IpAddr;
    type Table = NetworkTable;

    fn key(&self) -> Self {
        self.trunc()
    }

    fn holds(&self, asked: &IpAddr) -> bool {
        self.contains(asked)
    }

    fn find<'a>(
        table: &'a NetworkTable,
        asked: &IpAddr,
    ) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        let ranges = match asked {
            IpAddr::V4(_) => &table.v4,
            IpAddr::V6(_) => &table.v6,
        };
        let mut next = ranges.owner(*asked);
        std::iter::from_fn(move || {
            let network = table.networks.get(next?.index())?;
            next = network.within;
            Some(network.numbers.as_slice())
        })
    }
}

/// Two networks are apart or one is within the other. So an address has one
/// narrowest network, and all others that it is in are around that one.
#[derive(Debug, Default)]
pub(crate) struct NetworkTable {
    networks: Vec<Network>,
    v4: Ranges,
    v6: Ranges,
}

#[derive(Debug)]
struct Network {
    numbers: Numbers,
    /// The narrowest network around it.
    within: Option<Link>,
}

impl From<HashMap<IpNet, Numbers>> for NetworkTable {
    fn from(networks: HashMap<IpNet, Numbers>) -> Self {
        let mut sorted: Vec<_> = networks.into_iter().collect();
        sorted.sort_unstable_by_key(|(net, _)| (net.network(), net.prefix_len()));

        let (mut v4, mut v6) = (Sweep::default(), Sweep::default());
        let enter = |(index, (net, numbers))| {
            let sweep = match net {
                IpNet::V4(_) => &mut v4,
                IpNet::V6(_) => &mut v6,
            };
            let within = sweep.enter(index, &net);
            Network { numbers, within }
        };
        let networks = sorted.into_iter().enumerate().map(enter).collect();
        Self {
            networks,
            v4: v4.finish(),
            v6: v6.finish(),
        }
    }
}

/// Where a network stands in a list, from 1: a pointer half as wide. Four
/// billion networks would not fit into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link(NonZeroU32);

impl Link {
    fn to(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }

    fn index(self) -> usize {
        self.0.get().saturating_sub(1) as usize
    }
}

/// The addresses of one family cut into ranges, each with the narrowest network
/// that it is in. The last one has no end.
#[derive(Debug, Default)]
struct Ranges {
    /// Where each begins, ascending: the first 64 bits, and the others, which
    /// matter where the first are the same. IPv4 has no others. So a search
    /// stays within few cache lines, and takes no branch that depends on what
    /// it finds.
    highs: Vec<u64>,
    lows: Vec<u64>,
    owners: Vec<Option<Link>>,
}

impl Ranges {
    fn owner(&self, ip: IpAddr) -> Option<Link> {
        let (high, low) = halves(position(ip));
        let after = self.highs.partition_point(|start| *start <= high);
        let mut range = after.checked_sub(1)?;
        if self.highs.get(range) == Some(&high) {
            let same = self.highs.partition_point(|start| *start < high);
            let lows = self.lows.get(same..after)?;
            let after = same.checked_add(lows.partition_point(|start| *start <= low))?;
            range = after.checked_sub(1)?;
        }
        *self.owners.get(range)?
    }

    /// Ranges come in ascending order; of those that begin at the same address
    /// the last counts.
    fn begin(&mut self, start: u128, owner: Option<Link>) {
        let (high, low) = halves(start);
        if (self.highs.last(), self.lows.last()) == (Some(&high), Some(&low)) {
            self.owners.pop();
        } else {
            self.highs.push(high);
            self.lows.push(low);
        }
        self.owners.push(owner);
    }
}

/// IPv4 addresses stand in the first half.
fn position(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 64,
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn halves(position: u128) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, low @ ..] = position.to_be_bytes();
    let high = [a, b, c, d, e, f, g, h];
    (u64::from_be_bytes(high), u64::from_be_bytes(low))
}

/// Finds the ranges of one family.
#[derive(Default)]
struct Sweep {
    ranges: Ranges,
    /// The networks around where it has come to, and their last positions.
    open: Vec<(Option<Link>, u128)>,
}

impl Sweep {
    /// Enters the network that stands at `index`. They come by their first
    /// address, the wider first. Answers with the narrowest one around it.
    fn enter(&mut self, index: usize, net: &IpNet) -> Option<Link> {
        let first = position(net.network());
        let last = match net.broadcast() {
            ip @ IpAddr::V4(_) => position(ip) | u128::from(u64::MAX),
            ip @ IpAddr::V6(_) => position(ip),
        };
        self.leave_before(Some(first));
        let around = self.around();
        let network = Link::to(index);
        self.ranges.begin(first, network);
        self.open.push((network, last));
        around
    }

    fn around(&self) -> Option<Link> {
        self.open.last().and_then(|(around, _)| *around)
    }

    fn leave_before(&mut self, position: Option<u128>) {
        let has_ended = |end: u128| position.is_none_or(|position| end < position);
        while let Some((_, end)) = self.open.pop_if(|(_, end)| has_ended(*end)) {
            if let Some(start) = end.checked_add(1) {
                let around = self.around();
                self.ranges.begin(start, around);
            }
        }
    }

    fn finish(mut self) -> Ranges {
        self.leave_before(None);
        self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(nets: &[&str]) -> NetworkTable {
        let nets = (0..).zip(nets);
        let filed = nets.map(|(number, net)| (net.parse().unwrap(), Numbers::One(number)));
        filed.collect::<HashMap<IpNet, _>>().into()
    }

    fn found(table: &NetworkTable, ip: &str) -> Vec<u32> {
        IpNet::find(table, &ip.parse().unwrap())
            .flatten()
            .copied()
            .collect()
    }

    #[test]
    fn an_address_finds_all_networks_around_it_from_the_narrowest() {
        let table = table(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.3.0/24",
            "10.255.0.0/16",
            "10.255.255.255/32",
            "11.0.0.0/8",
            "::/0",
            "2001:db8::/32",
        ]);
        for (ip, networks) in [
            ("9.255.255.255", &[][..]),
            ("10.0.0.0", &[0]),
            ("10.1.0.0", &[1, 0]),
            ("10.1.2.255", &[2, 1, 0]),
            ("10.1.3.0", &[3, 1, 0]),
            ("10.1.4.0", &[1, 0]),
            ("10.2.0.0", &[0]),
            ("10.255.255.254", &[4, 0]),
            // Three networks end here, and another begins behind them.
            ("10.255.255.255", &[5, 4, 0]),
            ("11.0.0.0", &[6]),
            ("12.0.0.0", &[]),
            ("::a00:1", &[7]),
            ("2001:db8::", &[8, 7]),
            ("2001:db9::", &[7]),
        ] {
            assert_eq!(found(&table, ip), networks, "{ip}");
        }
    }

    #[test]
    fn the_first_and_the_last_address_are_in_networks_like_any_other() {
        let edges = table(&["0.0.0.0/0", "255.255.255.255/32", "0.0.0.0/32", "ffff::/16"]);
        assert_eq!(found(&edges, "0.0.0.0"), [2, 0]);
        assert_eq!(found(&edges, "0.0.0.1"), [0]);
        assert_eq!(found(&edges, "255.255.255.254"), [0]);
        assert_eq!(found(&edges, "255.255.255.255"), [1, 0]);
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(found(&edges, last), [3]);
        assert!(found(&edges, "::").is_empty());
    }

    #[test]
    fn addresses_whose_first_64_bits_are_the_same_are_told_apart() {
        let ips = ["2001:db8::", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::"];
        for ip in ips {
            let alone = table(&[&format!("{ip}/128")]);
            for other in ips {
                let found = found(&alone, other);
                assert_eq!(found.is_empty(), ip != other, "{ip} {other}");
            }
        }
        let half = table(&["2001:db8::8000:0:0:0/65"]);
        for (ip, is_in) in [
            ("2001:db8::7fff:0:0:0", false),
            ("2001:db8::8000:0:0:0", true),
            ("2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::", false),
        ] {
            assert_eq!(found(&half, ip).is_empty(), !is_in, "{ip}");
        }
    }

    #[test]
    fn mapped_networks_are_ipv4() {
        for (given, meant) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
            ("::ffff:0:0/95", "::ffff:0:0/95"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let meant: IpNet = meant.parse().unwrap();
            assert_eq!(canonical(given.parse().unwrap()), meant, "{given}");
        }
    }
}
