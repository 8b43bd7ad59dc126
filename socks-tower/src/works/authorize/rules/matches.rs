use std::{any::TypeId, fmt, net::IpAddr, ops::RangeInclusive, sync::Arc};

use ipnet::IpNet;
use socks_core::{DomainName, v5::Command};

use super::Group;
use crate::{
    session::{AuthenticatedBy, Identity, Session},
    works::authorize::{
        index::{Asked, Conditions, HostName, Value, Values, canonical},
        window::{Moment, Window},
    },
};

/// What a rule applies to.
///
/// It begins as [`any`](Self::any) and is narrowed by conditions. All kinds of
/// condition that are given must hold; several values of one kind are
/// alternatives.
///
/// ```
/// use socks_tower::{Command, Match};
///
/// // Joe and Ann, from the office, to the web servers of example.com.
/// let web = Match::any()
///     .identity("joe")
///     .identity("ann")
///     .client("192.0.2.0/24".parse()?)
///     .command(Command::CONNECT)
///     .domain("example.com".parse()?)
///     .port(443)
///     .ports(8000..=8999);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Match {
    identities: Values<Identity>,
    networks: Values<IpNet>,
    names: Values<HostName>,
    clients: Values<IpNet>,
    unfiled: Option<Box<Unfiled>>,
}

impl Match {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Clients from `net`. A client without an address, on a Unix socket, is
    /// from no network.
    #[must_use]
    pub fn client(mut self, net: IpNet) -> Self {
        self.clients.push(canonical(net));
        self
    }

    /// Clients from a network of `group`, whose names mean nothing here.
    ///
    /// It is of one kind with [`client`](Self::client): either is enough.
    #[must_use]
    pub fn client_in(mut self, group: &Group) -> Self {
        self.unfiled_mut().client_groups.push(group.clone());
        self
    }

    /// The client that a verifier named `identity`. Clients that nobody asked
    /// have none; what a SOCKS4 client says of itself is none.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<Arc<str>>) -> Self {
        self.identities.push(Identity::new(identity));
        self
    }

    /// Clients that have shown who they are by `method`: two verifiers may give
    /// the same name to different people.
    ///
    /// ```
    /// use socks_tower::{AuthenticatedBy, Match, Method};
    ///
    /// let by_certificate = Match::any().identity("joe").method(AuthenticatedBy::Certificate);
    /// let by_password = Match::any().method(Method::USERNAME_PASSWORD);
    /// # let _ = (by_certificate, by_password);
    /// ```
    #[must_use]
    pub fn method(mut self, method: impl Into<AuthenticatedBy>) -> Self {
        self.unfiled_mut().methods.push(method.into());
        self
    }

    /// Clients without an identity: nobody asked who they are.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.unfiled_mut().anonymous = true;
        self
    }

    /// Clients of whom a verifier or a layer has left a `T` in the session's
    /// [`extensions`](Session::extensions) of which `holds` says so. A client
    /// without a `T` does not match.
    ///
    /// Each `T` is a kind of its own. It is asked for each rule and address, so
    /// let it be quick.
    ///
    /// ```
    /// use socks_tower::{Match, Rules};
    ///
    /// #[derive(Clone, PartialEq)]
    /// enum Plan { Free, Gold }
    ///
    /// // Mail is for those who pay.
    /// let rules = Rules::new()
    ///     .allow(Match::any().port(25).extension(|plan: &Plan| *plan == Plan::Gold))
    ///     .deny(Match::any().port(25));
    /// ```
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(
        mut self,
        holds: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> Self {
        let extensions = &mut self.unfiled_mut().extensions;
        extensions.push(Extension {
            of: TypeId::of::<T>(),
            holds: Arc::new(move |session| session.extensions.get().is_some_and(&holds)),
        });
        self
    }

    /// Requests of `command`.
    #[must_use]
    pub fn command(mut self, command: Command) -> Self {
        self.unfiled_mut().commands.push(command);
        self
    }

    /// Targets that the client calls `name`, in whatever case, with or without
    /// a trailing dot.
    ///
    /// One that it gives as an address has no name, whoever's it may be. There
    /// are no wildcards: an asterisk is itself, see [`domain`](Self::domain).
    #[must_use]
    pub fn host(mut self, name: DomainName) -> Self {
        self.names.push(HostName::Exact(name));
        self
    }

    /// Targets that the client calls `domain` or a name beneath it. `*.` in
    /// front changes nothing.
    #[must_use]
    pub fn domain(mut self, domain: DomainName) -> Self {
        self.names.push(HostName::Within(domain));
        self
    }

    /// Targets with an address in `net`.
    ///
    /// A rule that denies an IPv4 network also denies the IPv6 addresses that
    /// lead there, as [`SpecialPurpose::of`](crate::SpecialPurpose::of) lists them;
    /// one that allows it does not allow those.
    #[must_use]
    pub fn network(mut self, net: IpNet) -> Self {
        self.networks.push(canonical(net));
        self
    }

    /// Targets in `group`: those that the client calls by one of its names, and
    /// those with an address in one of its networks, as [`network`](Self::network)
    /// has it.
    ///
    /// It is a kind of its own: with [`host`](Self::host), [`domain`](Self::domain)
    /// or [`network`](Self::network) beside it, both must hold. An empty group
    /// matches nothing.
    #[must_use]
    pub fn within(mut self, group: &Group) -> Self {
        self.unfiled_mut().groups.push(group.clone());
        self
    }

    /// Targets with this port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.ports(port..=port)
    }

    /// Targets with a port in `range`.
    #[must_use]
    pub fn ports(mut self, range: RangeInclusive<u16>) -> Self {
        self.unfiled_mut().ports.push(range);
        self
    }

    /// Requests that come in `window`.
    ///
    /// It is judged when the request is, not again: a tunnel goes on when the
    /// window ends, until something else ends it. For a UDP association it is
    /// judged at each new destination.
    ///
    /// ```
    /// use socks_tower::{Match, Rules};
    ///
    /// let rules = Rules::new()
    ///     .allow(Match::any().during("mon-fri 08:00-17:30 +01:00".parse()?))
    ///     .allow(Match::any().identity("backup").during("22:00-04:00".parse()?))
    ///     .deny_by_default();
    /// # Ok::<(), socks_tower::WindowError>(())
    /// ```
    #[must_use]
    pub fn during(mut self, window: Window) -> Self {
        self.unfiled_mut().windows.push(window);
        self
    }

    fn unfiled_mut(&mut self) -> &mut Unfiled {
        self.unfiled.get_or_insert_default()
    }

    pub(super) fn is_about_names(&self) -> bool {
        let unfiled = self.unfiled.as_ref();
        !self.names.is_empty() || unfiled.is_some_and(|unfiled| unfiled.has_names())
    }

    /// The conditions that it may be found by.
    pub(super) fn conditions(&self) -> Conditions<'_> {
        // With a group beside them, the networks are not all that clients may
        // come from.
        let clients = self.client_groups().is_empty().then_some(&self.clients);
        Conditions {
            identities: &self.identities,
            names: &self.names,
            networks: &self.networks,
            clients,
        }
    }

    fn client_groups(&self) -> &[Group] {
        let unfiled = self.unfiled.as_ref();
        unfiled.map_or(&[], |unfiled| &unfiled.client_groups)
    }

    /// The name of a group that it holds by.
    pub(super) fn group_of(&self, facts: &Facts<'_>, detours: bool) -> Option<Arc<str>> {
        self.unfiled.as_ref()?.group_of(facts, detours)
    }

    /// Makes now what would be made when it is first asked.
    pub(super) fn prepare(&self) {
        self.identities.prepare();
        self.networks.prepare();
        self.names.prepare();
        self.clients.prepare();
        if let Some(unfiled) = &self.unfiled {
            unfiled.prepare();
        }
    }

    /// Whether it has one kind of condition, of those that rules are found by.
    pub(super) fn is_plain(&self) -> bool {
        let kinds = [
            self.identities.is_empty(),
            self.networks.is_empty(),
            self.names.is_empty(),
            self.clients.is_empty(),
        ];
        self.unfiled.is_none() && kinds.into_iter().filter(|is_empty| !is_empty).count() == 1
    }

    /// Whether it applies to an address when it leads there by a detour, too,
    /// says `detours`.
    pub(super) fn holds(&self, facts: &Facts<'_>, detours: bool) -> bool {
        let identity = facts.session.identity.as_ref();
        held_by(&self.identities, identity, |all, it| all.any_holds(it))
            && held_by(&self.networks, facts.ip, |all, ip| all.hold(ip, detours))
            && held_by(&self.names, facts.name, |all, name| all.any_holds(name))
            && self.holds_client(facts)
            && (self.unfiled.as_ref()).is_none_or(|unfiled| unfiled.holds(facts, detours))
    }

    fn holds_client(&self, facts: &Facts<'_>) -> bool {
        let groups = self.client_groups();
        if groups.is_empty() && self.clients.is_empty() {
            return true;
        }
        let in_group = |ip| groups.iter().any(|group| group.holds_client(ip));
        let client = facts.client();
        client.is_some_and(|ip| self.clients.hold(ip, false) || in_group(ip))
    }
}

/// A condition of which no value is given always holds; where nothing is known,
/// no value holds.
fn held_by<V: Value, T>(
    values: &Values<V>,
    asked: Option<T>,
    hold: impl Fn(&Values<V>, T) -> bool,
) -> bool {
    values.is_empty() || asked.is_some_and(|asked| hold(values, asked))
}

/// The conditions of a [`Match`] that rules are not found by. Of
/// ten thousand rules few have any, so they are kept apart: what is asked for
/// most requests then lies close together.
#[derive(Clone, Debug, Default)]
struct Unfiled {
    methods: Vec<AuthenticatedBy>,
    anonymous: bool,
    extensions: Vec<Extension>,
    commands: Vec<Command>,
    ports: Vec<RangeInclusive<u16>>,
    /// One condition with the networks of clients, which the match has.
    client_groups: Vec<Group>,
    groups: Vec<Group>,
    windows: Vec<Window>,
}

impl Unfiled {
    /// Whether all of them hold, but that about clients.
    fn holds(&self, facts: &Facts<'_>, detours: bool) -> bool {
        one_of(&self.ports, |range| range.contains(&facts.port))
            && one_of(&self.methods, |method| {
                facts.session.method == Some(*method)
            })
            && (!self.anonymous || facts.session.identity.is_none())
            && self.holds_extensions(facts.session)
            && one_of(&self.commands, |command| *command == facts.command)
            && one_of(&self.groups, |group| holds_target(group, facts, detours))
            && one_of(&self.windows, |window| window.contains(facts.moment.time()))
    }

    /// One of each type must hold.
    fn holds_extensions(&self, session: &Session) -> bool {
        self.extensions.iter().all(|one| {
            let mut same = self.extensions.iter().filter(|other| other.of == one.of);
            same.any(|extension| (extension.holds)(session))
        })
    }

    fn has_names(&self) -> bool {
        self.groups.iter().any(Group::has_names)
    }

    /// The name of a group that the target is in, or the client.
    fn group_of(&self, facts: &Facts<'_>, detours: bool) -> Option<Arc<str>> {
        let mut groups = self.groups.iter();
        let target = groups.find(|group| holds_target(group, facts, detours));
        let client = || {
            let ip = facts.client()?;
            let mut groups = self.client_groups.iter();
            groups.find(|group| group.holds_client(ip))
        };
        Some(target.or_else(client)?.shared_name())
    }

    fn prepare(&self) {
        for group in self.groups.iter().chain(&self.client_groups) {
            group.prepare();
        }
    }
}

/// A condition on what the session carries of one type.
#[derive(Clone)]
struct Extension {
    of: TypeId,
    holds: Arc<dyn Fn(&Session) -> bool + Send + Sync>,
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extension(..)")
    }
}

fn holds_target(group: &Group, facts: &Facts<'_>, detours: bool) -> bool {
    group.holds_target(facts.name, facts.ip, detours)
}

/// A condition of which no value is given always holds.
fn one_of<T>(values: &[T], holds: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(holds)
}

/// What rules are asked about: one address of a target, or a target without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) session: &'a Session,
    pub(super) command: Command,
    pub(super) name: Option<&'a DomainName>,
    /// With a v4-mapped form undone.
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) moment: &'a Moment<'a>,
}

impl Facts<'_> {
    /// What rules are found by.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            identity: self.session.identity.as_ref(),
            name: self.name,
            ip: self.ip,
            client: self.client(),
        }
    }

    pub(super) fn client(&self) -> Option<IpAddr> {
        let addr = self.session.client_addr?;
        Some(addr.ip().to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        session::Session,
        works::authorize::window::{Clock, Moment},
    };

    fn holds(on: &Match, session: &Session, name: Option<&str>, ip: &str, port: u16) -> bool {
        let name = name.map(|name| name.parse().unwrap());
        let clock = Clock::default();
        let facts = Facts {
            session,
            command: Command::CONNECT,
            name: name.as_ref(),
            ip: Some(ip.parse().unwrap()),
            port,
            moment: &Moment::new(&clock),
        };
        on.holds(&facts, false)
    }

    #[test]
    fn a_match_without_conditions_holds_for_everything() {
        let session = Session::new();
        assert!(holds(&Match::any(), &session, None, "192.0.2.1", 0));
    }

    #[test]
    fn all_kinds_must_hold_and_one_value_of_each_is_enough() {
        let on = Match::any()
            .identity("joe")
            .identity("ann")
            .client("198.51.100.0/24".parse().unwrap())
            .host("a.example".parse().unwrap())
            .host("b.example".parse().unwrap())
            .network("192.0.2.0/24".parse().unwrap())
            .port(80)
            .ports(8000..=8999);
        let from = |ip: &str| Session::new().with_client_addr(format!("{ip}:1").parse().unwrap());
        let ann = from("198.51.100.9").with_identity(Identity::new("ann"));
        let elsewhere = from("203.0.113.9").with_identity(Identity::new("ann"));
        let bob = from("198.51.100.9").with_identity(Identity::new("bob"));
        let anonymous = from("198.51.100.9");

        assert!(holds(&on, &ann, Some("b.example"), "192.0.2.1", 8080));
        for (session, name, ip, port) in [
            (&elsewhere, Some("b.example"), "192.0.2.1", 80),
            (&bob, Some("b.example"), "192.0.2.1", 80),
            (&anonymous, Some("b.example"), "192.0.2.1", 80),
            (&ann, Some("c.example"), "192.0.2.1", 80),
            (&ann, None, "192.0.2.1", 80),
            (&ann, Some("b.example"), "192.0.3.1", 80),
            (&ann, Some("b.example"), "192.0.2.1", 81),
        ] {
            assert!(!holds(&on, session, name, ip, port), "{name:?} {ip} {port}");
        }
    }

    #[test]
    fn of_what_a_session_carries_one_of_each_type_must_hold() {
        #[derive(Clone)]
        struct Plan(&'static str);
        #[derive(Clone)]
        struct Age(u8);
        let on = Match::any()
            .extension(|plan: &Plan| plan.0 == "gold")
            .extension(|plan: &Plan| plan.0 == "silver")
            .extension(|age: &Age| age.0 >= 18);
        let with = |plan, age| {
            let mut session = Session::new();
            session.extensions.insert(Plan(plan));
            session.extensions.insert(Age(age));
            session
        };
        let mut ageless = Session::new();
        ageless.extensions.insert(Plan("gold"));

        for (session, expected) in [
            (with("gold", 18), true),
            (with("silver", 40), true),
            (with("silver", 17), false),
            (with("iron", 40), false),
            (ageless, false),
            (Session::new(), false),
        ] {
            assert_eq!(holds(&on, &session, None, "192.0.2.1", 1), expected);
        }
    }

    #[test]
    fn a_session_without_an_identity_is_nobody() {
        let empty = Match::any().identity("");
        assert!(!holds(&empty, &Session::new(), None, "192.0.2.1", 80));
        let mut claims = Session::new();
        claims.user_id = socks_core::v4::UserId::new(b"joe").ok();
        let joe = Match::any().identity("joe");
        assert!(!holds(&joe, &claims, None, "192.0.2.1", 80));
    }

    #[test]
    fn names_are_compared_without_case_and_trailing_dot() {
        let session = Session::new();
        let host = Match::any().host("Example.com.".parse().unwrap());
        let domain = Match::any().domain("*.example.COM".parse().unwrap());
        for (name, is_host, is_within) in [
            ("example.com", true, true),
            ("EXAMPLE.COM.", true, true),
            ("www.Example.com", false, true),
            ("badexample.com", false, false),
            ("com", false, false),
        ] {
            assert_eq!(holds(&host, &session, Some(name), "192.0.2.1", 1), is_host);
            assert_eq!(
                holds(&domain, &session, Some(name), "192.0.2.1", 1),
                is_within,
                "{name}"
            );
        }
    }

    #[test]
    fn mapped_clients_are_ipv4() {
        let mut session = Session::new();
        session.client_addr = Some("[::ffff:10.1.1.1]:1".parse().unwrap());
        let on = Match::any().client("::ffff:10.0.0.0/104".parse().unwrap());
        assert!(holds(&on, &session, None, "192.0.2.1", 80));
        assert!(!holds(&on, &Session::new(), None, "192.0.2.1", 80));
    }

    #[test]
    fn groups_are_alternatives_and_an_empty_one_matches_nothing() {
        let session = Session::new().with_client_addr("198.51.100.9:1".parse().unwrap());
        let servers = Group::parse("servers", "192.0.2.0/24\n*.example").unwrap();
        let office = Group::parse("office", "198.51.100.0/24").unwrap();
        let empty = Group::new("empty");
        let both = Match::any().within(&servers).client_in(&office);
        assert!(holds(&both, &session, None, "192.0.2.1", 80));
        assert!(holds(&both, &session, Some("a.example"), "203.0.113.1", 80));
        assert!(!holds(&both, &session, Some("a.test"), "203.0.113.1", 80));
        assert!(!holds(&both, &Session::new(), None, "192.0.2.1", 80));

        let either = both.within(&empty).client_in(&empty);
        assert!(holds(&either, &session, None, "192.0.2.1", 80));
        let client = Match::any().client("198.51.100.9/32".parse().unwrap());
        assert!(holds(
            &client.client_in(&empty),
            &session,
            None,
            "192.0.2.1",
            80
        ));

        let narrowed = Match::any()
            .within(&servers)
            .network("192.0.2.8/32".parse().unwrap());
        assert!(!holds(
            &narrowed,
            &session,
            Some("a.example"),
            "192.0.2.1",
            80
        ));
        for nothing in [Match::any().within(&empty), Match::any().client_in(&empty)] {
            assert!(!holds(
                &nothing,
                &session,
                Some("a.example"),
                "192.0.2.1",
                80
            ));
        }
    }

    #[test]
    fn detours_count_when_they_are_asked_for() {
        let session = Session::new();
        let on = Match::any().network("203.0.113.0/24".parse().unwrap());
        for (ip, leads_there) in [
            ("64:ff9b::203.0.113.1", true),
            ("2002:cb00:7101::1", true),
            ("64:ff9b::203.0.114.1", false),
            ("2001:db8::1", false),
        ] {
            let clock = Clock::default();
            let facts = Facts {
                session: &session,
                command: Command::CONNECT,
                name: None,
                ip: Some(ip.parse().unwrap()),
                port: 80,
                moment: &Moment::new(&clock),
            };
            assert!(!on.holds(&facts, false), "{ip}");
            assert_eq!(on.holds(&facts, true), leads_there, "{ip}");
        }
    }
}
