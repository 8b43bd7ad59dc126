use std::{
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::session::{ClientKey, Session};

/// The local addresses that connections come from, and how one is chosen among them.
///
/// A pool for each family, of addresses and whole networks. By default its members
/// take turns, and of a network it is an address at random, the first and the last
/// of it too.
///
/// ```
/// use std::net::Ipv4Addr;
/// use socks_tower::{IpNet, works::egress::SourceAddrs};
///
/// let by_turns = SourceAddrs::from(Ipv4Addr::new(192, 0, 2, 7))
///     .with(Ipv4Addr::new(192, 0, 2, 8));
/// let one_each = SourceAddrs::from("2001:db8:7::/64".parse::<IpNet>()?).by_identity();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SourceAddrs {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
    by: By,
    turn: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, Default)]
enum By {
    #[default]
    Turns,
    Client,
    Identity,
}

impl SourceAddrs {
    /// These, too.
    #[must_use]
    pub fn with(mut self, others: impl Into<Self>) -> Self {
        let Self { v4, v6, .. } = others.into();
        self.v4.extend(v4);
        self.v6.extend(v6);
        self
    }

    /// A client keeps to an address, an IPv6 /64 counting as one client, as long as
    /// the pool has it. When an address is added, those that move move to it. It is
    /// the same after a restart, but may be another with another version of Rust.
    #[must_use]
    pub fn by_client(mut self) -> Self {
        self.by = By::Client;
        self
    }

    /// An identity keeps to an address as a client does by
    /// [`by_client`](Self::by_client), which those without an identity go by.
    #[must_use]
    pub fn by_identity(mut self) -> Self {
        self.by = By::Identity;
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The one for `session`, of each family.
    pub(super) fn choose(&self, session: &Session) -> Source {
        let client = || hash(ClientKey::of_session(session));
        let key = match (self.by, &session.identity) {
            (By::Turns, _) => None,
            (By::Identity, Some(identity)) => Some(hash(identity)),
            (By::Identity | By::Client, _) => Some(client()),
        };
        let turn = || self.turn.fetch_add(1, Ordering::Relaxed);
        // Who has no choice needs no turn.
        let turn = if key.is_none() && self.v4.len().max(self.v6.len()) > 1 {
            turn()
        } else {
            0
        };
        let bits = || match key {
            Some(key) => wide(hash((key, 0)), hash((key, 1))),
            // std's hasher is keyed at random, each time anew.
            None => wide(
                RandomState::new().hash_one(0),
                RandomState::new().hash_one(1),
            ),
        };
        let v4 = member(&self.v4, key, turn).map(|net| Chosen::v4(*net, bits));
        let v6 = member(&self.v6, key, turn).map(|net| Chosen::v6(*net, bits));
        Source { v4, v6 }
    }

    /// One of each member, to try them out.
    pub(super) fn each(&self) -> impl Iterator<Item = Chosen> {
        let v4 = self.v4.iter().map(|net| Chosen::v4(*net, || 0));
        v4.chain(self.v6.iter().map(|net| Chosen::v6(*net, || 0)))
    }
}

/// An address of a network. An IPv4-mapped one is IPv4.
impl From<IpNet> for SourceAddrs {
    fn from(net: IpNet) -> Self {
        let mut sources = Self::default();
        match canonical(net) {
            IpNet::V4(net) => sources.v4.push(net),
            IpNet::V6(net) => sources.v6.push(net),
        }
        sources
    }
}

impl From<IpAddr> for SourceAddrs {
    fn from(source: IpAddr) -> Self {
        IpNet::from(source).into()
    }
}

impl From<Ipv4Addr> for SourceAddrs {
    fn from(source: Ipv4Addr) -> Self {
        IpAddr::from(source).into()
    }
}

impl From<Ipv6Addr> for SourceAddrs {
    fn from(source: Ipv6Addr) -> Self {
        IpAddr::from(source).into()
    }
}

/// What has been chosen for one session. By default the system chooses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    v4: Option<Chosen>,
    v6: Option<Chosen>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) ip: IpAddr,
    /// It may be on no interface.
    pub(super) is_of_net: bool,
}

impl Source {
    pub(super) fn only(chosen: Chosen) -> Self {
        let of = |is_v4| (chosen.ip.is_ipv4() == is_v4).then_some(chosen);
        Self {
            v4: of(true),
            v6: of(false),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    pub(super) fn of_family(&self, is_v4: bool) -> Option<Chosen> {
        if is_v4 { self.v4 } else { self.v6 }
    }
}

impl Chosen {
    fn v4(net: Ipv4Net, bits: impl FnOnce() -> u128) -> Self {
        let hosts = u32::from(net.hostmask());
        // The low half of random bits is as random as the whole.
        #[expect(clippy::cast_possible_truncation, reason = "as many bits as there are")]
        let host = if hosts == 0 { 0 } else { bits() as u32 & hosts };
        let ip = u32::from(net.network()) | host;
        Self {
            ip: Ipv4Addr::from(ip).into(),
            is_of_net: hosts != 0,
        }
    }

    fn v6(net: Ipv6Net, bits: impl FnOnce() -> u128) -> Self {
        let hosts = u128::from(net.hostmask());
        let host = if hosts == 0 { 0 } else { bits() & hosts };
        let ip = u128::from(net.network()) | host;
        Self {
            ip: Ipv6Addr::from(ip).into(),
            is_of_net: hosts != 0,
        }
    }
}

/// By rendezvous (highest random weight) if there is a key: whatever else is in the
/// pool, each member has the same weight for it.
fn member<T: Hash>(pool: &[T], key: Option<u64>, turn: usize) -> Option<&T> {
    match key {
        Some(key) => pool.iter().max_by_key(|net| hash((key, net))),
        None => pool.get(turn.checked_rem(pool.len())?),
    }
}

/// The same in every process.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn wide(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped();
    let mapped = mapped.zip(v6.prefix_len().checked_sub(96));
    match mapped.map(|(ip, len)| Ipv4Net::new(ip, len)) {
        Some(Ok(v4)) => v4.into(),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::session::Identity;

    fn pool(members: &[&str]) -> SourceAddrs {
        let nets = members.iter().map(|it| match it.parse::<IpAddr>() {
            Ok(ip) => ip.into(),
            Err(_) => it.parse::<IpNet>().unwrap(),
        });
        nets.fold(SourceAddrs::default(), SourceAddrs::with)
    }

    fn of(identity: &str) -> Session {
        Session::new().with_identity(Identity::from(identity))
    }

    fn at(client: &str) -> Session {
        Session::new().with_client_addr((client.parse::<IpAddr>().unwrap(), 9).into())
    }

    fn v4(sources: &SourceAddrs, session: &Session) -> String {
        let chosen = sources.choose(session).of_family(true);
        chosen.unwrap().ip.to_string()
    }

    fn v6(sources: &SourceAddrs, session: &Session) -> String {
        let chosen = sources.choose(session).of_family(false);
        chosen.unwrap().ip.to_string()
    }

    #[test]
    fn members_take_turns_and_clones_take_them_together() {
        let sources = pool(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        let clone = sources.clone();
        let session = at("198.51.100.1");
        let taken: Vec<_> = [&sources, &clone, &sources, &clone]
            .map(|it| v4(it, &session))
            .into();
        assert_eq!(taken, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]);
    }

    #[test]
    fn an_address_of_a_network_is_within_it_and_another_each_time() {
        let sources = pool(&["2001:db8:0:7::/64"]);
        let session = at("198.51.100.1");
        let taken: BTreeSet<_> = (0..100).map(|_| v6(&sources, &session)).collect();
        assert_eq!(taken.len(), 100);
        assert!(taken.iter().all(|ip| ip.starts_with("2001:db8:0:7:")));

        let all: BTreeSet<_> = (0..200)
            .map(|_| v4(&pool(&["192.0.2.8/30"]), &session))
            .collect();
        let expected = ["192.0.2.10", "192.0.2.11", "192.0.2.8", "192.0.2.9"];
        assert!(all.iter().eq(expected.iter()), "{all:?}");
    }

    #[test]
    fn an_identity_keeps_its_address_in_another_pool_alike_too() {
        for members in [&["2001:db8:0:7::/64"][..], &["::1", "::2", "::3"]] {
            let sources = || pool(members).by_identity();
            let (joe, sue) = (v6(&sources(), &of("joe")), v6(&sources(), &of("sue")));
            for _ in 0..10 {
                assert_eq!(v6(&sources(), &of("joe")), joe);
                assert_eq!(v6(&sources(), &of("sue")), sue);
            }
        }
        let sources = pool(&["2001:db8:0:7::/64"]).by_identity();
        let each = (0..100).map(|i| v6(&sources, &of(&i.to_string())));
        assert_eq!(each.collect::<BTreeSet<_>>().len(), 100);
    }

    #[test]
    fn a_client_keeps_its_address_and_its_neighbours_in_a_64_have_the_same() {
        for sources in [
            pool(&["192.0.2.0/24"]).by_client(),
            pool(&["192.0.2.0/24"]).by_identity(),
        ] {
            let taken = v4(&sources, &at("2001:db8::1"));
            assert_eq!(v4(&sources, &at("2001:db8::2")), taken);
            let others = (1..20).map(|i| v4(&sources, &at(&format!("198.51.100.{i}"))));
            assert!(others.collect::<BTreeSet<_>>().len() > 5);
        }
    }

    #[test]
    fn a_new_address_moves_nobody_but_to_itself() {
        let old = pool(&["::1", "::2", "::3", "::4"]).by_identity();
        let new = old.clone().with("::5".parse::<IpAddr>().unwrap());
        let mut moved = 0;
        for i in 0..1000 {
            let session = of(&i.to_string());
            let (old, new) = (v6(&old, &session), v6(&new, &session));
            if old != new {
                assert_eq!(new, "::5");
                moved += 1;
            }
        }
        assert!((100..300).contains(&moved), "{moved}");
    }

    #[test]
    fn each_family_has_its_own_and_a_mapped_address_is_ipv4() {
        let sources = pool(&["::ffff:192.0.2.7", "2001:db8::7"]);
        let session = at("198.51.100.1");
        assert_eq!(v4(&sources, &session), "192.0.2.7");
        assert_eq!(v6(&sources, &session), "2001:db8::7");
        let alone = pool(&["2001:db8::7"]).choose(&session);
        assert!(alone.of_family(true).is_none() && !alone.is_empty());
    }
}
