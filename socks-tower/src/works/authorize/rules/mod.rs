//! What is judged, by which rules.

#[cfg(test)]
mod agreement;
mod group;
mod list;
mod matches;
mod names;
mod reload;

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::SystemTime,
};

use ipnet::IpNet;
use socks_core::{Host, Target};
use tower_service::Service;

use list::{List, Verdict};
use matches::Facts;

pub use group::{Group, GroupError};
pub use matches::Match;
pub use names::{NameRules, NameRulesFuture};
pub use reload::{ReloadRules, ReloadRulesFuture, RuleSet};

use crate::{
    session::{Error, Pinned, Request, always_ready, opaque_future},
    works::authorize::{
        denied::Denied,
        window::{Clock, Moment},
    },
};

/// Judges the addresses of a target: a ready-made authorizer. See the
/// [module's page](crate::works::authorize).
///
/// It judges in two steps. Special-purpose addresses are denied, and nothing
/// but [`permit_special`](Self::permit_special) and
/// [`permit_all_special`](Self::permit_all_special) lifts that. Then the rules
/// are asked in the order in which they were given: the first that matches
/// decides, and what none matches is allowed, unless
/// [`deny_by_default`](Self::deny_by_default) says otherwise.
///
/// Ten thousand rules cost little more than ten: see the [module's
/// page](crate::works::authorize#what-they-cost). Cheap to clone: build it once.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    list: Arc<List>,
}

impl Rules {
    /// Denies special-purpose addresses, allows all others.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows what matches, if no rule before it does.
    #[must_use]
    pub fn allow(self, on: Match) -> Self {
        self.with(Verdict::Allow, on)
    }

    /// Denies what matches, if no rule before it does.
    #[must_use]
    pub fn deny(self, on: Match) -> Self {
        self.with(Verdict::Deny, on)
    }

    /// Denies what no rule matches.
    #[must_use]
    pub fn deny_by_default(mut self) -> Self {
        self.list_mut().deny_by_default = true;
        self
    }

    /// Lets the special-purpose addresses in `net` through to the rules.
    ///
    /// An address must itself be in `net`: `10.0.0.0/8` lifts nothing for
    /// `64:ff9b::10.0.0.1`.
    #[must_use]
    pub fn permit_special(mut self, net: IpNet) -> Self {
        self.list_mut().permit_special(net);
        self
    }

    /// Lets all special-purpose addresses through to the rules: this host, its
    /// networks, and the metadata service that has its credentials.
    #[must_use]
    pub fn permit_all_special(mut self) -> Self {
        self.list_mut().permit_all_special();
        self
    }

    /// Asks `now` for the time, where rules have windows: for tests. The
    /// system's clock, unless it is told otherwise.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.list_mut().clock = Clock::of(now);
        self
    }

    fn with(mut self, verdict: Verdict, on: Match) -> Self {
        self.list_mut().push(verdict, on);
        self
    }

    fn list_mut(&mut self) -> &mut List {
        Arc::make_mut(&mut self.list)
    }

    fn build_index(&self) {
        self.list.prepare();
    }

    fn permits_all_special(&self) -> bool {
        self.list.permits_all_special()
    }

    fn speaks_of_names(&self) -> bool {
        self.list.about_names
    }

    /// When a request that comes now is judged.
    fn moment(&self) -> Moment<'_> {
        Moment::new(&self.list.clock)
    }

    /// The rule that allows it, from 0; none if no rule is about it.
    fn decide(&self, facts: &Facts<'_>) -> Result<Option<usize>, Denied> {
        if let Some(ip) = facts.ip {
            self.list.judge_special(ip, facts.port, facts.command)?;
        }
        match self.list.first(facts) {
            Some((number, Verdict::Allow)) => Ok(Some(number)),
            Some((number, Verdict::Deny)) => Err(Denied::ByRule {
                rule: number.saturating_add(1),
                target: target(facts),
                group: self.list.group_of(number, facts),
            }),
            None if self.list.deny_by_default => Err(Denied::ByDefault(target(facts))),
            None => Ok(None),
        }
    }

    /// The rule that decides, from 0.
    #[cfg(test)]
    fn decider(&self, facts: &Facts<'_>) -> Option<usize> {
        self.list.first(facts).map(|(number, _)| number)
    }

    fn narrow(&self, mut request: Request<Pinned>) -> Result<Request<Pinned>, Denied> {
        let asked = request.target.target().clone();
        let name = match &asked.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        };
        let moment = self.moment();
        let mut first = None;
        request.target.retain(|addr| {
            let facts = Facts {
                session: &request.session,
                command: request.command,
                name,
                ip: Some(addr.ip().to_canonical()),
                port: addr.port(),
                moment: &moment,
            };
            let verdict = self.decide(&facts);
            let passes = verdict.is_ok();
            first = first.take().or(verdict.err());
            passes
        });
        if request.target.addrs().is_empty() {
            return Err(first.unwrap_or(Denied::NoAddress(asked)));
        }
        Ok(request)
    }
}

/// What was judged, for whoever reads why it was denied.
fn target(facts: &Facts<'_>) -> Target {
    let host = match (facts.ip, facts.name) {
        (Some(ip), _) => Host::Ip(ip),
        (None, Some(name)) => Host::Name(name.clone()),
        (None, None) => return Target::UNSPECIFIED,
    };
    Target::new(host, facts.port)
}

opaque_future! {
    /// The future of [`Rules`].
    RulesFuture<> -> Result<Request<Pinned>, Error> = Ready<Result<Request<Pinned>, Error>>
}

impl Service<Request<Pinned>> for Rules {
    type Response = Request<Pinned>;
    type Error = Error;
    type Future = RulesFuture;

    always_ready!();

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        RulesFuture::new(ready(self.narrow(request).map_err(Error::from)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use socks_core::v5::Command;
    use tower::ServiceExt;

    use super::*;
    use crate::{
        session::{ErrorKind, Session},
        works::authorize::{Group, SpecialPurpose},
    };

    fn request(command: Command, target: &str, addrs: &[&str]) -> Request<Pinned> {
        let addrs = addrs.iter().map(|addr| addr.parse::<SocketAddr>().unwrap());
        let pinned = Pinned::new(target.parse().unwrap(), addrs);
        Request::new(Session::new(), command, pinned)
    }

    fn connect(target: &str, addrs: &[&str]) -> Request<Pinned> {
        request(Command::CONNECT, target, addrs)
    }

    /// The addresses that pass, or why none does.
    async fn verdict(rules: &Rules, request: Request<Pinned>) -> Result<Vec<String>, Denied> {
        match rules.clone().oneshot(request).await {
            Ok(request) => {
                let addrs = request.target.addrs().iter();
                Ok(addrs.map(ToString::to_string).collect())
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Denied);
                let source = std::error::Error::source(&error).unwrap();
                Err(source.downcast_ref::<Denied>().unwrap().clone())
            }
        }
    }

    fn net(net: &str) -> IpNet {
        net.parse().unwrap()
    }

    #[tokio::test]
    async fn addresses_are_judged_one_by_one() {
        let addrs = ["192.168.0.1:80", "192.0.2.1:80", "[::1]:80", "192.0.2.2:80"];
        let passed = verdict(&Rules::new(), connect("a.example:80", &addrs)).await;
        assert_eq!(passed.unwrap(), ["192.0.2.1:80", "192.0.2.2:80"]);

        let denied = connect("a.example:80", &["10.0.0.1:80", "[::1]:80"]);
        let first = Denied::SpecialPurpose {
            ip: [10, 0, 0, 1].into(),
            purpose: SpecialPurpose::Private,
        };
        assert_eq!(verdict(&Rules::new(), denied).await, Err(first));
    }

    #[tokio::test]
    async fn a_target_without_addresses_is_denied() {
        let rules = Rules::new().permit_all_special();
        let denied = verdict(&rules, connect("a.example:80", &[])).await;
        assert!(matches!(denied, Err(Denied::NoAddress(_))), "{denied:?}");
    }

    #[tokio::test]
    async fn no_allow_rule_lifts_a_special_purpose() {
        let rules = Rules::new()
            .allow(Match::any())
            .allow(Match::any().host("a.example".parse().unwrap()))
            .allow(Match::any().network(net("127.0.0.0/8")));
        let denied = verdict(&rules, connect("a.example:80", &["127.0.0.1:80"])).await;
        assert!(matches!(denied, Err(Denied::SpecialPurpose { .. })));
    }

    #[tokio::test]
    async fn one_network_can_be_lifted_and_the_rules_still_judge_it() {
        let rules = Rules::new()
            .permit_special(net("::ffff:10.0.0.0/104"))
            .deny(Match::any().network(net("10.9.0.0/16")));
        for (addr, passes) in [
            ("10.1.0.1:80", true),
            ("[::ffff:10.1.0.1]:80", true),
            ("10.9.0.1:80", false),
            ("192.168.0.1:80", false),
            // It is itself outside of what was lifted.
            ("[64:ff9b::10.1.0.1]:80", false),
        ] {
            let verdict = verdict(&rules, connect(addr, &[addr])).await;
            assert_eq!(verdict.is_ok(), passes, "{addr}");
        }
    }

    #[tokio::test]
    async fn everything_can_be_lifted() {
        let rules = Rules::new().permit_all_special();
        for addr in ["127.0.0.1:80", "[::1]:80", "169.254.169.254:80"] {
            let passed = verdict(&rules, connect(addr, &[addr])).await;
            assert_eq!(passed.unwrap(), [addr]);
        }
    }

    #[tokio::test]
    async fn the_first_rule_that_matches_decides() {
        let rules = Rules::new()
            .allow(Match::any().network(net("192.0.2.1/32")))
            .deny(Match::any().network(net("192.0.2.0/24")))
            .allow(Match::any());
        let allowed = verdict(&rules, connect("192.0.2.1:80", &["192.0.2.1:80"])).await;
        assert!(allowed.is_ok());
        let denied = verdict(&rules, connect("192.0.2.2:80", &["192.0.2.2:80"])).await;
        let target = "192.0.2.2:80".parse().unwrap();
        let group = None;
        assert_eq!(
            denied,
            Err(Denied::ByRule {
                rule: 2,
                target,
                group
            })
        );
    }

    #[tokio::test]
    async fn what_no_rule_matches_is_allowed_unless_told_otherwise() {
        let open = Rules::new().deny(Match::any().port(25));
        let strict = Rules::new().allow(Match::any().port(443)).deny_by_default();
        for (rules, port, passes) in [
            (&open, 25, false),
            (&open, 80, true),
            (&strict, 443, true),
            (&strict, 80, false),
        ] {
            let addr = format!("192.0.2.1:{port}");
            let verdict = verdict(rules, connect(&addr, &[&addr])).await;
            assert_eq!(verdict.is_ok(), passes, "{rules:?} {port}");
        }
    }

    #[tokio::test]
    async fn a_denied_network_is_denied_by_every_way_there_and_allowed_by_one() {
        let detours = ["[64:ff9b::203.0.113.1]:80", "[2002:cb00:7101::1]:80"];
        let deny = Rules::new().deny(Match::any().network(net("203.0.113.0/24")));
        let allow = Rules::new()
            .allow(Match::any().network(net("203.0.113.0/24")))
            .deny_by_default();
        for addr in detours {
            assert!(verdict(&deny, connect(addr, &[addr])).await.is_err());
            assert!(verdict(&allow, connect(addr, &[addr])).await.is_err());
        }
    }

    #[tokio::test]
    async fn bind_may_expect_anybody_and_nobody_special() {
        let rules = Rules::new();
        for (command, addr, passes) in [
            (Command::BIND, "0.0.0.0:0", true),
            (Command::BIND, "[::]:7", true),
            (Command::BIND, "0.0.0.1:0", false),
            (Command::BIND, "127.0.0.1:0", false),
            (Command::CONNECT, "0.0.0.0:80", false),
            (Command::UDP_ASSOCIATE, "0.0.0.0:80", false),
        ] {
            let verdict = verdict(&rules, request(command, addr, &[addr])).await;
            assert_eq!(verdict.is_ok(), passes, "{command} {addr}");
        }
        let no_bind = Rules::new().deny(Match::any().command(Command::BIND));
        let denied = verdict(
            &no_bind,
            request(Command::BIND, "0.0.0.0:0", &["0.0.0.0:0"]),
        );
        assert!(matches!(denied.await, Err(Denied::ByRule { .. })));
    }

    #[test]
    fn all_addresses_of_a_request_are_judged_at_one_time() {
        let hours = std::sync::atomic::AtomicU64::new(0);
        let clock = move || {
            let hour = hours.fetch_add(12, std::sync::atomic::Ordering::Relaxed);
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(hour * 3600)
        };
        let mornings = Match::any().during("00:00-12:00".parse().unwrap());
        let rules = Rules::new().allow(mornings).deny_by_default();
        let rules = rules.with_clock(clock);
        let ask = || rules.narrow(connect("a.example:80", &["192.0.2.1:80", "192.0.2.2:80"]));
        for morning in [true, false, true, false] {
            let passed = ask().map(|request| request.target.addrs().len());
            assert_eq!(passed.ok(), morning.then_some(2));
        }
    }

    #[test]
    fn ten_thousand_rules_are_built_in_place() {
        let mut rules = Rules::new();
        let before = Arc::as_ptr(&rules.list);
        for index in 0..10_000_u32 {
            let ip = std::net::Ipv4Addr::from(index << 8);
            rules = rules.deny(Match::any().network(IpNet::new(ip.into(), 24).unwrap()));
        }
        assert_eq!(Arc::as_ptr(&rules.list), before);
        let denied = rules.narrow(connect("0.39.15.9:80", &["0.39.15.9:80"]));
        assert!(matches!(denied, Err(Denied::SpecialPurpose { .. })));
        let rules = rules.permit_all_special();
        let denied = rules.narrow(connect("0.39.15.9:80", &["0.39.15.9:80"]));
        assert!(matches!(denied, Err(Denied::ByRule { rule: 10_000, .. })));
    }

    #[test]
    fn a_rule_that_is_added_after_the_first_request_counts() {
        let port = |port| Match::any().network(net("192.0.2.0/24")).port(port);
        let rules = (1..=20).fold(Rules::new(), |rules, it| rules.deny(port(it)));
        let ask = |rules: &Rules| rules.narrow(connect("192.0.2.1:80", &["192.0.2.1:80"]));
        assert!(ask(&rules).is_ok());
        let more = rules.clone().deny(port(80));
        assert!(matches!(ask(&more), Err(Denied::ByRule { rule: 21, .. })));
        assert!(ask(&rules).is_ok());
    }

    #[test]
    fn what_passes_whole_is_not_copied() {
        let request = connect("a.example:80", &["192.0.2.1:80", "192.0.2.2:80"]);
        let before = request.target.addrs().as_ptr();
        let after = Rules::new().narrow(request).unwrap();
        assert_eq!(after.target.addrs().as_ptr(), before);
    }

    #[test]
    fn the_reason_says_what_and_why() {
        let denied = Rules::new().narrow(connect("a.example:80", &["[::ffff:127.0.0.1]:80"]));
        let reason = denied.unwrap_err().to_string();
        assert_eq!(reason, "127.0.0.1 is special-purpose: loopback");

        let ads = Group::parse("ads", "*.ads.example\n192.0.2.0/24").unwrap();
        let rules = Rules::new().deny(Match::any().within(&ads));
        for (to, addr) in [
            ("x.ads.example:80", "198.51.100.1:80"),
            ("a.example:80", "192.0.2.1:80"),
        ] {
            let denied = rules.narrow(connect(to, &[addr])).unwrap_err();
            let reason = denied.to_string();
            assert_eq!(reason, format!("rule 1 denies {addr} (group \"ads\")"));
        }
        let mut request = connect("a.example:80", &["198.51.100.1:80"]);
        request.session.client_addr = Some("192.0.2.9:1".parse().unwrap());
        let guests = Rules::new().deny(Match::any().client_in(&ads));
        let reason = guests.narrow(request).unwrap_err().to_string();
        assert!(reason.ends_with(r#"(group "ads")"#), "{reason}");
    }
}
