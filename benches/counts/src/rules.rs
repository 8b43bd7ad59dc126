//! Rules by the thousand, and requests for them.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socks_tower::{
    Command, Group, Identity, IpNet, Match, Pinned, Request, Rules, Session, Target,
};
use tower::Service;

use crate::once;

/// What the rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// IPv4 networks of 16 to 32 bits.
    Networks,
    /// IPv6 networks of 32 to 64 bits.
    Networks6,
    /// Domains of two labels.
    Domains,
    /// Who the client is.
    Identities,
}

/// Where the entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    /// One in each rule.
    Rules,
    /// All in one rule.
    Rule,
    /// All in a group, which one rule goes by.
    Group,
}

/// What the requests find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    /// Some entry, another one each time.
    Any,
    /// The last entry.
    Last,
    /// None.
    Nothing,
}

/// Rules, and requests to ask them about.
pub struct Judge {
    rules: Rules,
    requests: Vec<Request<Pinned>>,
}

impl Judge {
    /// `count` entries, and `requests` requests. Of no entries there are no
    /// rules: what is left is the rest of the judgement.
    #[must_use]
    pub fn new(by: By, within: In, finds: Finds, count: u32, requests: u32) -> Self {
        let entries = || (0..count).map(|entry| Entry::new(by, entry));
        let rules = match within {
            _ if count == 0 => Rules::new(),
            In::Rules => Self::build(by, count).rules,
            In::Rule => Rules::new().allow(entries().fold(Match::any(), |on, it| it.narrow(on))),
            In::Group => {
                let group = entries().fold(Group::new("many"), |group, it| it.add_to(group));
                Rules::new().allow(Match::any().within(&group))
            }
        };
        let last = count.saturating_sub(1);
        let entry = |request| match finds {
            Finds::Any => scramble(request) % count.max(1),
            Finds::Last => last,
            Finds::Nothing => NOBODY + request,
        };
        let requests = (0..requests).map(|request| Entry::new(by, entry(request)).request());
        let mut judge = Self {
            rules,
            requests: requests.collect(),
        };
        judge.first(by);
        judge
    }

    /// Builds `count` rules, and nothing that the first request builds.
    #[must_use]
    pub fn build(by: By, count: u32) -> Self {
        let entries = (0..count).map(|entry| Entry::new(by, entry).narrow(Match::any()));
        Self {
            rules: entries.fold(Rules::new(), Rules::allow),
            requests: Vec::new(),
        }
    }

    /// Judges a first request, for which the index is built.
    pub fn first(&mut self, by: By) {
        black_box(self.ask(Entry::new(by, NOBODY).request()));
    }

    /// Judges each request once.
    pub fn all(&mut self) {
        for request in std::mem::take(&mut self.requests) {
            let judged = self.ask(request);
            self.requests.push(judged);
        }
    }

    /// Judges one, the first.
    pub fn one(&mut self) -> Option<Request<Pinned>> {
        let request = self.requests.pop()?;
        Some(self.ask(black_box(request)))
    }

    fn ask(&mut self, request: Request<Pinned>) -> Request<Pinned> {
        once(self.rules.call(request)).expect("all of it is allowed")
    }
}

/// Past every entry.
const NOBODY: u32 = 1 << 20;

/// Entries lie scattered, and are told apart by all of their bits.
fn scramble(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1)
}

enum Entry {
    Network(IpNet),
    Domain(String),
    Identity(String),
}

impl Entry {
    fn new(by: By, number: u32) -> Self {
        let bits = scramble(number);
        let nobody = u32::from(number >= NOBODY);
        match by {
            // None are special. Nobody's lie between the others: a bit that all
            // prefixes have tells them apart.
            By::Networks => {
                let ip = 0x2000_0000 | bits >> 3 & !(1 << 16) | nobody << 16;
                let prefix = [16, 20, 22, 24, 24, 24, 28, 32][number as usize % 8];
                Self::network(Ipv4Addr::from(ip).into(), prefix)
            }
            By::Networks6 => {
                let ip = u128::from(0x2a00_0000 | bits >> 8 & !1 | nobody) << 96;
                let ip = Ipv6Addr::from(ip | u128::from(bits) << 64);
                let prefix = [32, 40, 44, 48, 48, 48, 56, 64][number as usize % 8];
                Self::network(ip.into(), prefix)
            }
            By::Domains => Self::Domain(format!("site-{bits:x}.example")),
            By::Identities => Self::Identity(format!("user-{bits:x}")),
        }
    }

    fn network(ip: IpAddr, prefix: u8) -> Self {
        Self::Network(IpNet::new(ip, prefix).expect("a prefix"))
    }

    fn narrow(&self, on: Match) -> Match {
        match self {
            Self::Network(net) => on.network(*net),
            Self::Domain(domain) => on.domain(domain.parse().expect("a domain")),
            Self::Identity(identity) => on.identity(identity.as_str()),
        }
    }

    fn add_to(&self, group: Group) -> Group {
        match self {
            Self::Network(net) => group.network(*net),
            Self::Domain(domain) => group.domain(domain.parse().expect("a domain")),
            Self::Identity(_) => panic!("no group has identities"),
        }
    }

    fn request(&self) -> Request<Pinned> {
        let public = SocketAddr::from(([9, 9, 9, 9], 443));
        let session = Session::new();
        let (session, target) = match self {
            Self::Network(net) => (session, SocketAddr::new(net.addr(), 443).into()),
            Self::Domain(domain) => {
                let target: Target = format!("www.{domain}:443").parse().expect("a target");
                (session, Pinned::new(target, [public]))
            }
            Self::Identity(name) => {
                let session = session.with_identity(Identity::new(name.as_str()));
                (session, public.into())
            }
        };
        Request::new(session, Command::CONNECT, target)
    }
}
