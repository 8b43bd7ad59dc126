use std::{
    future::{Ready, ready},
    net::IpAddr,
    sync::Arc,
};

use socks_core::{DomainName, Host};
use tower_service::Service;

use super::{Rules, matches::Facts};
use crate::{
    session::{Error, Request, always_ready, opaque_future},
    works::authorize::denied::Denied,
};

/// Judges targets as the client named them, for proxies that pass names on to
/// another proxy. See the [module's page](crate::works::authorize).
///
/// An address is judged as [`Rules`] does. A name is judged by its text, as no
/// address is known:
///
/// - Conditions about networks do not match it. A rule that *denies* a network
///   thus lets names through that lead there; the proxy that looks them up has
///   to judge their addresses. With [`Rules::deny_by_default`], a rule that
///   *allows* a network lets none through.
/// - Names that mean this host or its networks are denied: `localhost`, names
///   without a dot, `metadata.google.internal` and the other metadata
///   services, and all beneath `.internal`, `.local`, `.localdomain`,
///   `.home.arpa` and the top-level domains that RFC 6762 lists as in private
///   use (`.lan`, `.corp` and so on).
///   [`permit_local`](Self::permit_local) lifts one,
///   [`Rules::permit_all_special`] all.
/// - Names that are not plain (other than letters, digits, hyphens,
///   underscores and dots) are denied: an upstream that applies IDNA reads
///   `１２７.０.０.１` as an address. The encoded form of an international
///   name, `xn--…`, is plain. They pass if nothing hangs on how they are read:
///   all special-purpose targets are lifted, and no rule is about names.
///
/// Nothing that a name says tells where it leads: `127.0.0.1.nip.io` is as
/// good a name as any.
#[derive(Clone, Debug, Default)]
pub struct NameRules {
    pub(super) rules: Rules,
    local: Arc<Vec<DomainName>>,
}

/// All beneath these is local, besides names without a dot.
const LOCAL: [&str; 16] = [
    "localhost",
    // The hosts files of Linux distributions.
    "localdomain",
    "localdomain4",
    "localdomain6",
    // RFC 6762, multicast DNS; RFC 8375, home networks.
    "local",
    "home.arpa",
    // RFC 6762's appendix G.
    "intranet",
    "internal",
    "private",
    "corp",
    "home",
    "lan",
    // Kubernetes, from within.
    "svc",
    // Metadata services: Google's, Tencent's, IBM's. Others' are in `internal`.
    "metadata.goog",
    "metadata.tencentyun.com",
    "api.metadata.cloud.ibm.com",
];

impl NameRules {
    /// Judges by `rules`.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            local: Arc::default(),
        }
    }

    /// Lets `domain` and what is beneath it through to the rules, although it
    /// is a local name.
    #[must_use]
    pub fn permit_local(mut self, domain: DomainName) -> Self {
        Arc::make_mut(&mut self.local).push(domain);
        self
    }

    /// The same, judged by what `change` makes of its rules.
    #[cfg(feature = "routes")]
    pub(in crate::works) fn map(mut self, change: impl FnOnce(Rules) -> Rules) -> Self {
        self.rules = change(self.rules);
        self
    }

    /// The rule that allows the request, from 0; none if no rule is about it.
    pub(in crate::works) fn decide(&self, request: &Request) -> Result<Option<usize>, Denied> {
        let (name, ip) = match &request.target.host {
            Host::Ip(ip) => (None, Some(IpAddr::to_canonical(ip))),
            Host::Name(name) => (Some(name), None),
        };
        if let Some(name) = name {
            self.judge_name(name)?;
        }
        self.rules.decide(&Facts {
            session: &request.session,
            command: request.command,
            name,
            ip,
            port: request.target.port,
            moment: &self.rules.moment(),
        })
    }

    fn judge_name(&self, name: &DomainName) -> Result<(), Denied> {
        let all_lifted = self.rules.permits_all_special();
        let matters = !all_lifted || self.rules.speaks_of_names();
        if matters && !is_plain(name) {
            return Err(Denied::UnclearName(name.clone()));
        }
        let lifted = || {
            self.local
                .iter()
                .any(|local| name.is_within(local.as_str()))
        };
        if is_local(name) && !all_lifted && !lifted() {
            return Err(Denied::LocalName(name.clone()));
        }
        Ok(())
    }
}

fn is_plain(name: &DomainName) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.as_str().bytes().all(plain)
}

/// A name without a dot is looked up in hosts files and search domains.
fn is_local(name: &DomainName) -> bool {
    let text = name.as_str();
    let stem = text.strip_suffix('.').unwrap_or(text);
    !stem.contains('.') || LOCAL.iter().any(|domain| name.is_within(domain))
}

opaque_future! {
    /// The future of [`NameRules`].
    NameRulesFuture<> -> Result<Request, Error> = Ready<Result<Request, Error>>
}

impl Service<Request> for NameRules {
    type Response = Request;
    type Error = Error;
    type Future = NameRulesFuture;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let verdict = self.decide(&request);
        NameRulesFuture::new(ready(verdict.map(|_| request).map_err(Error::from)))
    }
}

#[cfg(test)]
mod tests {
    use socks_core::{Target, v5::Command};

    use super::*;
    use crate::{session::Session, works::authorize::Match};

    fn judge(rules: &NameRules, host: &str) -> Result<(), Denied> {
        let host: Host = host.parse().unwrap();
        let target = Target::new(host, 80);
        let verdict = rules.decide(&Request::new(Session::new(), Command::CONNECT, target));
        verdict.map(drop)
    }

    #[test]
    fn names_elsewhere_pass() {
        let rules = NameRules::new(Rules::new());
        for name in [
            "example.com",
            "a_b.xn--mnchen-3ya.example.",
            "expyuzz4wqqyqhjn.onion",
            "local.example.com",
            "mylocalhost.example",
            "127.0.0.1.nip.io",
        ] {
            assert_eq!(judge(&rules, name), Ok(()), "{name}");
        }
    }

    #[test]
    fn local_names_are_denied_until_they_are_lifted() {
        let rules = NameRules::new(Rules::new().allow(Match::any()));
        let all = NameRules::new(Rules::new().permit_all_special());
        for name in [
            "localhost",
            "LocalHost.",
            "a.b.localhost",
            "localhost.localdomain",
            "localhost6.localdomain6",
            "ip6-localhost",
            "ip6-loopback",
            "metadata",
            "metadata.google.internal",
            "METADATA.google.internal.",
            "host.docker.internal",
            "printer.local",
            "router.home.arpa",
            "nas.lan",
            "kubernetes.default.svc",
        ] {
            let denied = judge(&rules, name);
            assert!(matches!(denied, Err(Denied::LocalName(_))), "{name}");
            assert_eq!(judge(&all, name), Ok(()), "{name}");
        }

        let docker = rules.permit_local("host.docker.internal".parse().unwrap());
        assert_eq!(judge(&docker, "Host.docker.internal."), Ok(()));
        assert!(judge(&docker, "metadata.google.internal").is_err());
    }

    #[test]
    fn names_that_readers_may_disagree_about_are_denied() {
        let rules = NameRules::new(Rules::new());
        let all = NameRules::new(Rules::new().permit_all_special());
        let no_mail = Rules::new()
            .permit_all_special()
            .deny(Match::any().domain("mail.example".parse().unwrap()));
        let no_mail = NameRules::new(no_mail);
        for name in [
            "１２７.０.０.１",
            "127。0。0。1",
            "ⓛocalhost.example",
            "loc\u{ad}alhost",
            "ｍail.example",
            "münchen.example",
            "a*b.example",
        ] {
            for rules in [&rules, &no_mail] {
                let denied = judge(rules, name);
                assert!(matches!(denied, Err(Denied::UnclearName(_))), "{name}");
            }
            assert_eq!(judge(&all, name), Ok(()), "{name}");
        }
    }

    #[test]
    fn addresses_are_judged_as_addresses() {
        let rules = NameRules::new(
            Rules::new().deny(Match::any().network("203.0.113.0/24".parse().unwrap())),
        );
        for (ip, passes) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("127.1", false),
            ("0x7f.1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("203.0.113.9", false),
            ("::ffff:203.0.113.9", false),
            ("64:ff9b::203.0.113.9", false),
        ] {
            assert_eq!(judge(&rules, ip).is_ok(), passes, "{ip}");
        }
    }

    #[test]
    fn an_allowed_network_is_allowed_in_its_mapped_form() {
        let office = || "10.1.0.0/16".parse().unwrap();
        let rules = Rules::new()
            .permit_special(office())
            .allow(Match::any().network(office()))
            .deny_by_default();
        let rules = NameRules::new(rules);
        assert_eq!(judge(&rules, "::ffff:10.1.2.3"), Ok(()));
        assert!(judge(&rules, "::ffff:10.2.2.3").is_err());
    }

    #[test]
    fn a_network_never_matches_a_name() {
        let everything = || Match::any().network("0.0.0.0/0".parse().unwrap());
        let deny = NameRules::new(Rules::new().deny(everything()));
        assert_eq!(judge(&deny, "example.com"), Ok(()));
        let allow = NameRules::new(Rules::new().allow(everything()).deny_by_default());
        let denied = judge(&allow, "example.com");
        assert!(matches!(denied, Err(Denied::ByDefault(_))), "{denied:?}");
    }

    #[test]
    fn rules_about_names_are_asked_in_order() {
        let rules = Rules::new()
            .allow(Match::any().host("www.example.com".parse().unwrap()))
            .deny(Match::any().domain("example.com".parse().unwrap()));
        let rules = NameRules::new(rules);
        assert_eq!(judge(&rules, "WWW.example.com."), Ok(()));
        let denied = judge(&rules, "x.example.COM");
        assert!(matches!(denied, Err(Denied::ByRule { rule: 2, .. })));
    }
}
