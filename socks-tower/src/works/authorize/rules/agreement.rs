//! However rules are looked up, they judge as if they were read one by one.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    time::{Duration, UNIX_EPOCH},
};

use ipnet::IpNet;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use socks_core::{DomainName, v5::Command};

use super::{Group, Match, Rules, matches::Facts};
use crate::{
    session::{Identity, Session},
    works::authorize::{
        index::canonical,
        special::embedded,
        window::{Clock, Moment, Window},
    },
};

/// What a rule says, as lists to read through.
#[derive(Clone, Debug)]
struct Rule {
    denies: bool,
    clients: Vec<IpNet>,
    identities: Vec<&'static str>,
    commands: Vec<Command>,
    hosts: Vec<DomainName>,
    domains: Vec<DomainName>,
    networks: Vec<IpNet>,
    ports: Vec<RangeInclusive<u16>>,
    groups: Vec<Members>,
    client_groups: Vec<Members>,
    windows: Vec<Window>,
}

#[derive(Clone, Debug)]
struct Members {
    networks: Vec<IpNet>,
    hosts: Vec<DomainName>,
    domains: Vec<DomainName>,
}

impl Members {
    fn to_group(&self) -> Group {
        let mut group = Group::new("group");
        group = self
            .networks
            .iter()
            .fold(group, |group, net| group.network(*net));
        group = self.hosts.iter().cloned().fold(group, Group::host);
        self.domains.iter().cloned().fold(group, Group::domain)
    }
}

impl Rule {
    fn to_match(&self) -> Match {
        let mut on = Match::any();
        on = self.clients.iter().fold(on, |on, net| on.client(*net));
        on = self.identities.iter().fold(on, |on, id| on.identity(*id));
        on = self.commands.iter().fold(on, |on, it| on.command(*it));
        on = self.hosts.iter().fold(on, |on, name| on.host(name.clone()));
        on = (self.domains.iter()).fold(on, |on, name| on.domain(name.clone()));
        on = self.networks.iter().fold(on, |on, net| on.network(*net));
        on = self.ports.iter().fold(on, |on, it| on.ports(it.clone()));
        on = self
            .groups
            .iter()
            .fold(on, |on, it| on.within(&it.to_group()));
        on = self
            .client_groups
            .iter()
            .fold(on, |on, it| on.client_in(&it.to_group()));
        self.windows.iter().cloned().fold(on, Match::during)
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        let identity = facts.session.identity.as_ref().map(Identity::as_str);
        let named = |hosts: &[DomainName], domains: &[DomainName]| {
            let name = facts.name;
            name.is_some_and(|name| hosts.contains(name) || is_within_one(name, domains))
        };
        let in_group = |group: &Members| {
            let mut networks = group.networks.iter();
            named(&group.hosts, &group.domains)
                || networks.any(|net| holds(net, facts.ip, self.denies))
        };
        let from = |net: &IpNet| holds(net, facts.client(), false);
        let from_group = |group: &Members| group.networks.iter().any(from);
        let any_client = self.clients.is_empty() && self.client_groups.is_empty();
        let any_name = self.hosts.is_empty() && self.domains.is_empty();

        (any_client || self.clients.iter().any(from) || self.client_groups.iter().any(from_group))
            && (any_name || named(&self.hosts, &self.domains))
            && one_of(&self.groups, in_group)
            && one_of(&self.windows, |window| window.contains(facts.moment.time()))
            && one_of(&self.identities, |other| identity == Some(other))
            && one_of(&self.commands, |command| *command == facts.command)
            && one_of(&self.networks, |net| holds(net, facts.ip, self.denies))
            && one_of(&self.ports, |range| range.contains(&facts.port))
    }
}

fn is_within_one(name: &DomainName, domains: &[DomainName]) -> bool {
    let mut domains = domains.iter().map(DomainName::as_str);
    domains.any(|domain| name.is_within(domain.strip_prefix("*.").unwrap_or(domain)))
}

fn one_of<T>(values: &[T], holds: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(holds)
}

fn holds(net: &IpNet, ip: Option<IpAddr>, detours: bool) -> bool {
    let net = canonical(*net);
    let ways = match ip {
        Some(IpAddr::V6(ip)) if detours => embedded(ip).map(IpAddr::V4).collect(),
        _ => Vec::new(),
    };
    ip.into_iter().chain(ways).any(|ip| net.contains(&ip))
}

/// Few enough that networks meet, nest and border on each other.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let octet = || select(vec![0_u8, 1, 127, 128, 254, 255]);
    (select(vec![0_u8, 8, 9, 255]), octet(), octet(), octet())
        .prop_map(|(a, b, c, d)| Ipv4Addr::new(a, b, c, d))
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let form = select(vec![
        "64:ff9b::",
        "::ffff:0:0",
        "2001:db8::5efe:0:0",
        "::",
        "2001:db8::",
    ]);
    let low = (form, v4()).prop_map(|(form, ip)| {
        let form: Ipv6Addr = form.parse().unwrap();
        Ipv6Addr::from(u128::from(form) | u128::from(u32::from(ip)))
    });
    let six_to_four =
        v4().prop_map(|ip| Ipv6Addr::from(0x2002 << 112 | u128::from(u32::from(ip)) << 80 | 1));
    let last = Just(Ipv6Addr::from(u128::MAX));
    prop_oneof![8 => low, 3 => six_to_four, 1 => last]
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4().prop_map(IpAddr::V4), v6().prop_map(IpAddr::V6)]
}

fn net() -> impl Strategy<Value = IpNet> {
    let wide = |bits: u8| prop_oneof![Just(bits), Just(bits), 0..=bits];
    prop_oneof![
        (v4(), wide(32)).prop_map(|(ip, prefix)| IpNet::new(ip.into(), prefix).unwrap()),
        (v6(), wide(128)).prop_map(|(ip, prefix)| IpNet::new(ip.into(), prefix).unwrap()),
    ]
}

fn name() -> impl Strategy<Value = DomainName> {
    let label = select(vec!["a", "A", "b", "ab", "bc", "c", "xn--9"]);
    (vec(label, 1..5), any::<bool>()).prop_map(|(labels, dot)| {
        let name = labels.join(".") + if dot { "." } else { "" };
        name.parse().unwrap()
    })
}

fn domain() -> impl Strategy<Value = DomainName> {
    (name(), any::<bool>()).prop_map(|(name, star)| match star {
        true => format!("*.{name}").parse().unwrap(),
        false => name,
    })
}

fn identity() -> impl Strategy<Value = &'static str> {
    select(vec!["", "joe", "Joe", "ann", "bob", "eve", "sue", "tom"])
}

fn command() -> impl Strategy<Value = Command> {
    select(vec![
        Command::CONNECT,
        Command::BIND,
        Command::UDP_ASSOCIATE,
    ])
}

/// Mostly none or one; sometimes more than are read through.
fn some<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    let value = value.boxed();
    prop_oneof![
        6 => Just(Vec::new()),
        4 => vec(value.clone(), 1..3),
        1 => vec(value, 1..20),
    ]
}

fn group() -> impl Strategy<Value = Members> {
    (some(net()), some(name()), some(domain())).prop_map(|(networks, hosts, domains)| Members {
        networks,
        hosts,
        domains,
    })
}

/// Seldom, so that most rules have conditions to be filed under, too.
fn groups() -> impl Strategy<Value = Vec<Members>> {
    prop_oneof![8 => Just(Vec::new()), 1 => vec(group(), 1..3)]
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let window = select(vec!["thu", "08:00-17:30", "22:00-06:00 +01:00"]);
    let window = window.prop_map(|window| window.parse().unwrap());
    prop_oneof![8 => Just(Vec::new()), 1 => vec(window, 1..3)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let range = (0_u16..4, 0_u16..4).prop_map(|(from, more)| from..=from + more);
    let values = (
        some(net()),
        some(identity()),
        some(command()),
        some(name()),
        some(domain()),
        some(net()),
        some(range),
    );
    let rare = (groups(), groups(), windows());
    (any::<bool>(), values, rare).prop_map(|(denies, values, rare)| {
        let (groups, client_groups, windows) = rare;
        let (clients, identities, commands, hosts, domains, networks, ports) = values;
        Rule {
            denies,
            clients,
            identities,
            commands,
            hosts,
            domains,
            networks,
            ports,
            groups,
            client_groups,
            windows,
        }
    })
}

#[derive(Clone, Debug)]
struct Asked {
    session: Session,
    command: Command,
    name: Option<DomainName>,
    ip: Option<IpAddr>,
    port: u16,
    clock: Clock,
}

fn asked() -> impl Strategy<Value = Asked> {
    let session = (prop::option::of(ip()), prop::option::of(identity()));
    let target = (prop::option::of(name()), prop::option::of(ip()), 0_u16..8);
    let asked = (session, command(), target, 0..48_u64);
    asked.prop_map(|((client, identity), command, (name, ip, port), hour)| {
        let time = UNIX_EPOCH + Duration::from_secs(hour * 3600);
        let mut session = Session::new();
        session.client_addr = client.map(|ip| SocketAddr::new(ip, 1));
        session.identity = identity.map(Identity::new);
        Asked {
            session,
            command,
            name,
            ip: ip.map(|ip| ip.to_canonical()),
            port,
            clock: Clock::of(move || time),
        }
    })
}

impl Asked {
    fn facts<'a>(&'a self, moment: &'a Moment<'a>) -> Facts<'a> {
        Facts {
            session: &self.session,
            command: self.command,
            name: self.name.as_ref(),
            ip: self.ip,
            port: self.port,
            moment,
        }
    }
}

fn rules_of(read: &[Rule]) -> Rules {
    read.iter()
        .fold(Rules::new(), |rules, rule| match rule.denies {
            true => rules.deny(rule.to_match()),
            false => rules.allow(rule.to_match()),
        })
}

proptest! {
    #[test]
    fn rules_that_are_looked_up_judge_as_rules_that_are_read(
        read in vec(rule(), 0..40),
        all_asked in vec(asked(), 40),
    ) {
        let rules = rules_of(&read);
        for asked in all_asked {
            let moment = Moment::new(&asked.clock);
            let facts = asked.facts(&moment);
            let first = read.iter().position(|rule| rule.holds(&facts));
            prop_assert_eq!(rules.decider(&facts), first, "{:?}", asked);
        }
    }

    /// A request about what a rule names: most of them hold for some rule.
    #[test]
    fn what_a_rule_names_finds_it(
        read in vec(rule(), 1..40),
        mut asked in asked(),
        picked in vec(any::<Index>(), 6),
    ) {
        let rule = &picked[0].get(&read);
        let pick = |nets: &[IpNet], by: &Index| {
            (!nets.is_empty()).then(|| canonical(*by.get(nets)).broadcast().to_canonical())
        };
        asked.ip = pick(&rule.networks, &picked[1]).or(asked.ip);
        let client = pick(&rule.clients, &picked[2]).map(|ip| SocketAddr::new(ip, 1));
        asked.session.client_addr = client.or(asked.session.client_addr);
        if !rule.identities.is_empty() {
            asked.session.identity = Some(Identity::new(*picked[3].get(&rule.identities)));
        }
        if !rule.hosts.is_empty() {
            asked.name = Some(picked[4].get(&rule.hosts).clone());
        }
        if !rule.ports.is_empty() {
            asked.port = *picked[5].get(&rule.ports).start();
        }
        let moment = Moment::new(&asked.clock);
        let facts = asked.facts(&moment);
        let first = read.iter().position(|rule| rule.holds(&facts));
        prop_assert_eq!(rules_of(&read).decider(&facts), first, "{:?}", asked);
    }
}
