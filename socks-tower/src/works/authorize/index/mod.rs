//! Finds the rules that may hold, so that the others need not be asked.

mod host_names;
mod networks;
mod values;

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

pub(super) use host_names::HostName;
pub(super) use networks::canonical;
use networks::ways;
use socks_core::DomainName;
use values::Numbers;
pub(super) use values::{FEW, Value, Values};

use crate::session::Identity;

/// Each rule is filed under all values of one of its conditions, and so is
/// found by every request that it holds for. Whether it does hold, the rule
/// itself is asked, unless that is all there is to it.
pub(super) struct Index {
    identities: Table<Identity>,
    names: Table<HostName>,
    networks: Table<IpNet>,
    clients: Table<IpNet>,
    /// Rules with no such condition.
    others: Vec<u32>,
}

/// The conditions of a rule that it can be filed under. A rule without values
/// of a kind holds for all.
pub(super) struct Conditions<'a> {
    pub(super) identities: &'a Values<Identity>,
    pub(super) names: &'a Values<HostName>,
    pub(super) networks: &'a Values<IpNet>,
    /// None if clients may come from elsewhere too.
    pub(super) clients: Option<&'a Values<IpNet>>,
}

/// What rules are looked for by.
pub(super) struct Asked<'a> {
    pub(super) identity: Option<&'a Identity>,
    pub(super) name: Option<&'a DomainName>,
    pub(super) ip: Option<IpAddr>,
    pub(super) client: Option<IpAddr>,
}

/// How a rule was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// By a condition that holds.
    ByItself,
    /// By an address that the one asked for leads to, or by nothing.
    Otherwise,
}

type Table<V> = <V as Value>::Table;

impl Index {
    /// Files `rules`, numbered from 0.
    pub(super) fn new<'a>(rules: impl Iterator<Item = Conditions<'a>>) -> Self {
        let mut identities = File::default();
        let mut names = File::default();
        let mut networks = File::default();
        let mut clients = File::default();
        let mut others = Vec::new();
        // Four billion rules would not fit into memory.
        for (number, on) in (0..u32::MAX).zip(rules) {
            let kinds = [
                (Kind::Identity, identities.crowd(Some(on.identities))),
                (Kind::Name, names.crowd(Some(on.names))),
                (Kind::Network, networks.crowd(Some(on.networks))),
                (Kind::Client, clients.crowd(on.clients)),
            ];
            let usable = kinds.into_iter().filter(|(_, crowd)| crowd.is_some());
            match usable.min_by_key(|(_, crowd)| *crowd) {
                Some((Kind::Identity, _)) => identities.insert(on.identities, number),
                Some((Kind::Name, _)) => names.insert(on.names, number),
                Some((Kind::Network, _)) => networks.insert(on.networks, number),
                Some((Kind::Client, _)) => {
                    if let Some(values) = on.clients {
                        clients.insert(values, number);
                    }
                }
                None => others.push(number),
            }
        }
        Self {
            identities: identities.numbers,
            names: names.numbers.into(),
            networks: networks.numbers.into(),
            clients: clients.numbers.into(),
            others,
        }
    }

    /// The first rule that `holds`, of those that may.
    pub(super) fn first(
        &self,
        asked: &Asked<'_>,
        holds: impl Fn(usize, Found) -> bool,
    ) -> Option<usize> {
        let mut best = None;
        let mut ask = |numbers: &[u32], found| {
            for &number in numbers {
                let number = number as usize;
                if best.is_some_and(|best| best <= number) {
                    break;
                }
                if holds(number, found) {
                    best = Some(number);
                    break;
                }
            }
        };
        if let Some(identity) = asked.identity {
            let found = Identity::find(&self.identities, identity);
            found.for_each(|numbers| ask(numbers, Found::ByItself));
        }
        if let Some(name) = asked.name {
            let found = HostName::find(&self.names, name);
            found.for_each(|numbers| ask(numbers, Found::ByItself));
        }
        if let Some(ip) = asked.ip {
            let found = IpNet::find(&self.networks, &ip);
            found.for_each(|numbers| ask(numbers, Found::ByItself));
            // Rules that deny count detours; those that allow will say no.
            for ip in ways(ip) {
                let found = IpNet::find(&self.networks, &ip);
                found.for_each(|numbers| ask(numbers, Found::Otherwise));
            }
        }
        if let Some(client) = asked.client {
            let found = IpNet::find(&self.clients, &client);
            found.for_each(|numbers| ask(numbers, Found::ByItself));
        }
        ask(&self.others, Found::Otherwise);
        best
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Identity,
    Name,
    Network,
    Client,
}

/// What becomes a table.
struct File<V: Value> {
    numbers: HashMap<V::Key, Numbers>,
}

impl<V: Value> Default for File<V> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
        }
    }
}

impl<V: Value> File<V> {
    /// How many rules would be found with one that is filed under `values`: a
    /// thousand rules about one user's networks are best told by the network.
    /// None if it cannot be filed under them, as it may hold for others.
    fn crowd(&self, values: Option<&Values<V>>) -> Option<(usize, usize)> {
        let values = values?.list();
        let found = values.iter().map(|value| self.numbers.get(&value.key()));
        let crowd = found.map(|found| found.map_or(0, |found| found.as_slice().len()));
        Some((crowd.max()?, values.len()))
    }

    fn insert(&mut self, values: &Values<V>, number: u32) {
        for value in values.list() {
            self.numbers.entry(value.key()).or_default().push(number);
        }
    }
}
