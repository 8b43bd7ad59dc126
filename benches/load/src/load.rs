//! The tests by name, and what each puts on a proxy.

use anyhow::Result;

use crate::{
    bulk::{Way, bulk, limited},
    idle::{self, idle},
    origin::Origin,
    pingpong::pingpong,
    proxy::{Proxy, Role},
    setup::setup,
    socks::Auth,
    udp::udp,
    window::{Extent, Figures},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Bulk(usize, Way),
    Setup(usize, Auth),
    PingPong(usize),
    Udp,
    Idle,
    /// So many tunnels under a limit of 10 MB/s for all of them.
    Limited(usize),
}

pub(crate) const TESTS: [(&str, Load); 16] = [
    ("bulk-1-down", Load::Bulk(1, Way::Down)),
    ("bulk-1-up", Load::Bulk(1, Way::Up)),
    ("bulk-64-down", Load::Bulk(64, Way::Down)),
    ("bulk-64-up", Load::Bulk(64, Way::Up)),
    ("setup-1", Load::Setup(1, Auth::None)),
    ("setup-64", Load::Setup(64, Auth::None)),
    ("setup-512", Load::Setup(512, Auth::None)),
    ("setup-1-password", Load::Setup(1, Auth::Password)),
    ("setup-64-password", Load::Setup(64, Auth::Password)),
    ("setup-512-password", Load::Setup(512, Auth::Password)),
    ("pingpong-1", Load::PingPong(1)),
    ("pingpong-100", Load::PingPong(100)),
    ("udp", Load::Udp),
    ("idle", Load::Idle),
    ("limit-10MB-1", Load::Limited(1)),
    ("limit-10MB-50", Load::Limited(50)),
];

impl Load {
    pub(crate) fn auth(self) -> Auth {
        match self {
            Self::Setup(_, auth) => auth,
            Self::Bulk(..) | Self::PingPong(_) | Self::Udp | Self::Idle | Self::Limited(_) => {
                Auth::None
            }
        }
    }

    pub(crate) fn is_for(self, role: Role) -> bool {
        match role {
            Role::Proxy => !matches!(self, Self::Limited(_)),
            Role::Middleware => matches!(self, Self::Setup(64, _)),
            Role::Limited => matches!(self, Self::Limited(_)),
        }
    }

    /// Whether its figures hardly drift: a third of the rounds will do, and
    /// nothing has to run beside it.
    pub(crate) fn is_steady(self) -> bool {
        matches!(self, Self::Idle | Self::Limited(_))
    }

    pub(crate) fn put_on(self, proxy: &Proxy, origin: &Origin, extent: Extent) -> Result<Figures> {
        match self {
            Self::Bulk(count, way) => bulk(proxy, origin, count, way, extent),
            Self::Setup(count, auth) => setup(proxy, origin, count, auth, extent),
            Self::PingPong(count) => pingpong(proxy, origin, count, extent),
            Self::Udp => udp(proxy, origin, extent),
            Self::Idle => idle(proxy, origin, idle::count(usize::MAX)),
            Self::Limited(count) => limited(proxy, origin, count),
        }
    }
}
