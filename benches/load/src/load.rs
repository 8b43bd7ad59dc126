//! The tests by name, and what each puts on a proxy.

use anyhow::{Result, bail};

use crate::{
    beside::beside,
    bulk::{Way, bulk, limited},
    growth::growth,
    idle::{self, idle},
    origin::Origin,
    pingpong::pingpong,
    proxy::{Proxy, Role},
    setup::setup,
    socks::Auth,
    udp::{Spread, udp},
    window::{Extent, Figures},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Bulk(usize, Way),
    Setup(usize, Auth),
    PingPong(usize),
    /// Ping-pong beside so many tunnels that carry bulk.
    Beside(usize),
    /// So many datagrams in flight, of so many bytes.
    Udp(usize, usize, Spread),
    Idle,
    /// So many tunnels that are open.
    Growth(usize),
    /// So many tunnels from start to start.
    Starts(usize),
    /// So many tunnels under a limit of 10 MB/s for all of them.
    Limited(usize),
}

pub(crate) const TESTS: [(&str, Load); 35] = [
    ("bulk-1-down", Load::Bulk(1, Way::Down)),
    ("bulk-1-up", Load::Bulk(1, Way::Up)),
    ("bulk-1-both", Load::Bulk(1, Way::Both)),
    ("bulk-64-down", Load::Bulk(64, Way::Down)),
    ("bulk-64-up", Load::Bulk(64, Way::Up)),
    ("bulk-64-both", Load::Bulk(64, Way::Both)),
    ("setup-1", Load::Setup(1, Auth::None)),
    ("setup-64", Load::Setup(64, Auth::None)),
    ("setup-512", Load::Setup(512, Auth::None)),
    ("setup-1-password", Load::Setup(1, Auth::Password)),
    ("setup-64-password", Load::Setup(64, Auth::Password)),
    ("setup-512-password", Load::Setup(512, Auth::Password)),
    ("pingpong-1", Load::PingPong(1)),
    ("pingpong-100", Load::PingPong(100)),
    ("beside-4", Load::Beside(4)),
    ("beside-64", Load::Beside(64)),
    ("udp-1", Load::Udp(1, 64, Spread::One)),
    ("udp-32", Load::Udp(32, 64, Spread::One)),
    ("udp-512", Load::Udp(512, 64, Spread::One)),
    ("udp-32-large", Load::Udp(32, 1200, Spread::One)),
    ("udp-512-large", Load::Udp(512, 1200, Spread::One)),
    ("udp-1-associations", Load::Udp(1, 64, Spread::Associations)),
    (
        "udp-32-associations",
        Load::Udp(32, 64, Spread::Associations),
    ),
    (
        "udp-512-associations",
        Load::Udp(512, 64, Spread::Associations),
    ),
    ("udp-1-flows", Load::Udp(1, 64, Spread::Flows)),
    ("udp-32-flows", Load::Udp(32, 64, Spread::Flows)),
    ("udp-512-flows", Load::Udp(512, 64, Spread::Flows)),
    ("idle", Load::Idle),
    ("growth-100", Load::Growth(100)),
    ("growth-1000", Load::Growth(1000)),
    ("growth-3000", Load::Growth(3000)),
    ("starts-2", Load::Starts(2)),
    ("starts-64", Load::Starts(64)),
    ("limit-10MB-1", Load::Limited(1)),
    ("limit-10MB-50", Load::Limited(50)),
];

/// When a load is put on the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// In each round, on all of them while they all run.
    Timed,
    /// In a third of the rounds, on one that is started for it: its figures
    /// hardly drift, or what was before would change them.
    Anew,
    /// Once, on many starts.
    Starts,
}

impl Load {
    pub(crate) fn auth(self) -> Auth {
        match self {
            Self::Setup(_, auth) => auth,
            _ => Auth::None,
        }
    }

    pub(crate) fn is_for(self, role: Role) -> bool {
        match role {
            Role::Proxy => !matches!(self, Self::Limited(_)),
            // They have one thread, no datagrams, and nothing that grows.
            Role::Floor => matches!(
                self,
                Self::Bulk(..) | Self::Setup(..) | Self::PingPong(_) | Self::Beside(_) | Self::Idle
            ),
            Role::Middleware => matches!(self, Self::Setup(64, _)),
            Role::Limited => matches!(self, Self::Limited(_)),
        }
    }

    pub(crate) fn pace(self) -> Pace {
        match self {
            Self::Bulk(..)
            | Self::Setup(..)
            | Self::PingPong(_)
            | Self::Beside(_)
            | Self::Udp(..) => Pace::Timed,
            Self::Idle | Self::Growth(_) | Self::Limited(_) => Pace::Anew,
            Self::Starts(_) => Pace::Starts,
        }
    }

    pub(crate) fn put_on(self, proxy: &Proxy, origin: &Origin, extent: Extent) -> Result<Figures> {
        match self {
            Self::Bulk(count, way) => bulk(proxy, origin, count, way, extent),
            Self::Setup(count, auth) => setup(proxy, origin, count, auth, extent),
            Self::PingPong(count) => pingpong(proxy, origin, count, extent),
            Self::Beside(count) => beside(proxy, origin, count, extent),
            Self::Udp(in_flight, size, spread) => {
                udp(proxy, origin, in_flight, size, spread, extent)
            }
            Self::Idle => idle(proxy, origin, idle::count(usize::MAX)),
            Self::Growth(count) => growth(proxy, origin, count, extent),
            Self::Limited(count) => limited(proxy, origin, count),
            Self::Starts(_) => bail!("not of one start"),
        }
    }
}
