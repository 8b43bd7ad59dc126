use std::{net::IpAddr, num::NonZeroU32};

use ipnet::IpNet;

/// Where a network stands in a list, from 1: a pointer half as wide. Four
/// billion networks would not fit into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(NonZeroU32);

impl Link {
    fn to(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }

    pub(super) fn index(self) -> usize {
        self.0.get().saturating_sub(1) as usize
    }
}

/// The addresses of one family cut into ranges, each with the narrowest network
/// that it is in. The last one has no end.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Where each begins, ascending: the first 64 bits, and the others, which
    /// matter where the first are the same. IPv4 has no others. So a search
    /// stays within few cache lines, and takes no branch that depends on what
    /// it finds.
    highs: Vec<u64>,
    lows: Vec<u64>,
    owners: Vec<Option<Link>>,
}

impl Ranges {
    pub(super) fn owner(&self, ip: IpAddr) -> Option<Link> {
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
pub(super) struct Sweep {
    ranges: Ranges,
    /// The networks around where it has come to, and their last positions.
    open: Vec<(Option<Link>, u128)>,
}

impl Sweep {
    /// Enters the network that stands at `index`. They come by their first
    /// address, the wider first. Answers with the narrowest one around it.
    pub(super) fn enter(&mut self, index: usize, net: &IpNet) -> Option<Link> {
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

    pub(super) fn finish(mut self) -> Ranges {
        self.leave_before(None);
        self.ranges
    }
}
