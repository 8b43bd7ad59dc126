use std::{fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use socks_core::{DomainName, Host};

use crate::{
    session::BoxError,
    works::authorize::index::{HostName, Values, canonical},
};

/// Networks, domains and hosts under one name, for as many rules as want them.
///
/// [`Match::within`](super::Match::within) asks it about targets,
/// [`Match::client_in`](super::Match::client_in) about clients. Cheap to clone:
/// all clones are one. In it ten thousand entries are found as fast as ten.
///
/// ```
/// use socks_tower::{Group, Match, Rules};
///
/// let office = Group::new("office")
///     .network("192.0.2.0/24".parse()?)
///     .network("2001:db8:7::/48".parse()?);
/// let servers = Group::parse(
///     "servers",
///     "# One network, domain or host in each line.
///      198.51.100.0/24
///      *.example.com     # example.com and all beneath it
///      git.example.org   # this host alone",
/// )?;
/// let rules = Rules::new()
///     .allow(Match::any().client_in(&office).within(&servers))
///     .deny_by_default();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Group {
    members: Arc<Members>,
}

#[derive(Clone)]
struct Members {
    group: Arc<str>,
    networks: Values<IpNet>,
    names: Values<HostName>,
}

impl Group {
    /// Nothing yet. Logs call it `name`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            members: Arc::new(Members {
                group: name.into(),
                networks: Values::default(),
                names: Values::default(),
            }),
        }
    }

    /// Reads one entry from each line of `text`, often a file's.
    ///
    /// `192.0.2.0/24` is a network, `192.0.2.1` an address, `*.example.com` or
    /// `.example.com` a domain with all beneath it, `www.example.com` a host
    /// alone. What follows a `#` is not read, nor are empty lines.
    ///
    /// # Errors
    ///
    /// [`GroupError`] names the first line that is none of these. Nothing is
    /// skipped: half a list would let through what the other half denies.
    pub fn parse(name: impl Into<Arc<str>>, text: &str) -> Result<Self, GroupError> {
        let mut group = Self::new(name);
        // What writes a byte order mark means nothing by it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, entry) in (1..).zip(text.lines()) {
            let (entry, _) = entry.split_once('#').unwrap_or((entry, ""));
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            let error = |source| GroupError {
                group: group.name().into(),
                line,
                entry: entry.chars().take(SHOWN).collect(),
                source,
            };
            match Entry::parse(entry).map_err(error)? {
                Entry::Network(net) => group.members_mut().networks.push(canonical(net)),
                Entry::Name(name) => group.members_mut().names.push(name),
            }
        }
        Ok(group)
    }

    /// Adds the addresses in `net`.
    #[must_use]
    pub fn network(mut self, net: IpNet) -> Self {
        self.members_mut().networks.push(canonical(net));
        self
    }

    /// Adds `domain` and all names beneath it. `*.` in front changes nothing.
    #[must_use]
    pub fn domain(mut self, domain: DomainName) -> Self {
        self.members_mut().names.push(HostName::Within(domain));
        self
    }

    /// Adds the name `host`, and none beneath it.
    #[must_use]
    pub fn host(mut self, host: DomainName) -> Self {
        self.members_mut().names.push(HostName::Exact(host));
        self
    }

    /// What logs call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.members.group
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.members.group)
    }

    /// How many entries it was given.
    #[must_use]
    pub fn len(&self) -> usize {
        let Members {
            networks, names, ..
        } = &*self.members;
        networks.list().len().saturating_add(names.list().len())
    }

    /// Whether it holds nothing. A rule about such a group matches nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn members_mut(&mut self) -> &mut Members {
        Arc::make_mut(&mut self.members)
    }

    pub(super) fn has_names(&self) -> bool {
        !self.members.names.is_empty()
    }

    /// Whether `host` is in it: an address in one of its networks, a name that is one
    /// of its hosts or within one of its domains. For lists that a layer of your own
    /// asks, a tap say.
    #[must_use]
    pub fn contains(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => self.holds_target(Some(name), None, false),
            Host::Ip(ip) => self.holds_target(None, Some(*ip), false),
        }
    }

    pub(super) fn holds_target(
        &self,
        name: Option<&DomainName>,
        ip: Option<IpAddr>,
        detours: bool,
    ) -> bool {
        let Members {
            networks, names, ..
        } = &*self.members;
        name.is_some_and(|name| names.any_holds(name))
            || ip.is_some_and(|ip| networks.hold(ip, detours))
    }

    pub(super) fn holds_client(&self, ip: IpAddr) -> bool {
        self.members.networks.hold(ip, false)
    }

    pub(super) fn prepare(&self) {
        self.members.networks.prepare();
        self.members.names.prepare();
    }
}

/// Its name, and how much is in it: a list of ten thousand is not for reading.
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        f.debug_struct("Group")
            .field("name", &name)
            .field("entries", &self.len())
            .finish()
    }
}

/// A line that names no network, domain or host.
#[derive(Debug, thiserror::Error)]
#[error("{group}, line {line}: {entry:?} is no network, domain or host")]
pub struct GroupError {
    group: Box<str>,
    line: usize,
    entry: String,
    source: BoxError,
}

/// So much of an entry is worth showing, in characters.
const SHOWN: usize = 80;

impl GroupError {
    /// Which line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }
}

enum Entry {
    Network(IpNet),
    Name(HostName),
}

impl Entry {
    fn parse(entry: &str) -> Result<Self, BoxError> {
        if entry.contains('/') {
            return Ok(Self::Network(entry.parse()?));
        }
        let domain = entry.strip_prefix('*').unwrap_or(entry);
        if let Some(domain) = domain.strip_prefix('.') {
            return Ok(Self::Name(HostName::Within(plain(domain)?)));
        }
        match Host::parse(entry)? {
            Host::Ip(ip) => Ok(Self::Network(ip.into())),
            Host::Name(_) => Ok(Self::Name(HostName::Exact(plain(entry)?))),
        }
    }
}

/// Whoever writes an asterisk elsewhere hopes for what does not happen.
fn plain(name: &str) -> Result<DomainName, BoxError> {
    if name.contains('*') {
        return Err("an asterisk stands in front of a domain only".into());
    }
    Ok(DomainName::new(name)?)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn holds(group: &Group, name: Option<&str>, ip: Option<&str>) -> bool {
        let name = name.map(|name| name.parse().unwrap());
        let ip = ip.map(|ip| ip.parse().unwrap());
        group.holds_target(name.as_ref(), ip, false)
    }

    #[test]
    fn a_group_can_be_asked_about_a_host() {
        let group = Group::parse("blocked", "192.0.2.0/24\n*.example").unwrap();
        let contains = |host: &str| group.contains(&host.parse().unwrap());
        assert!(contains("192.0.2.7") && contains("www.example"));
        assert!(!contains("198.51.100.7") && !contains("example.com"));
    }

    #[test]
    fn a_file_holds_networks_addresses_domains_and_hosts() {
        let text = "\u{feff}# A list\r\n\r\n 192.0.2.0/24 \r\n198.51.100.7#one\n2001:db8::/32\n\
                    ::ffff:203.0.113.0/120\n*.A.example.\n.b.example # dante's way\nC.example.";
        let group = Group::parse("all", text).unwrap();
        assert_eq!(group.len(), 7);
        for (name, is_in) in [
            ("a.example", true),
            ("x.y.A.EXAMPLE.", true),
            ("b.example", true),
            ("x.b.example", true),
            ("c.example", true),
            ("x.c.example", false),
            ("xa.example", false),
        ] {
            assert_eq!(holds(&group, Some(name), None), is_in, "{name}");
        }
        for (ip, is_in) in [
            ("192.0.2.255", true),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:ffff::", true),
            ("203.0.113.1", true),
        ] {
            assert_eq!(holds(&group, None, Some(ip)), is_in, "{ip}");
            assert_eq!(group.holds_client(ip.parse().unwrap()), is_in, "{ip}");
        }
        // One of the two is enough.
        assert!(holds(&group, Some("d.example"), Some("192.0.2.1")));
        assert!(holds(&group, Some("c.example"), Some("192.0.3.1")));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (text, line) in [
            ("example.com\n\n# more\n192.0.2.0/33", 4),
            ("192.0.2.0/24,198.51.100.0/24", 1),
            ("0.0.0.0 ads.example", 1),
            ("a.example\n||ads.example^", 2),
            ("a.*.example", 1),
            ("*", 1),
            ("*.*.example", 1),
            ("*.", 1),
            ("*.127.0.0.1", 1),
            ("http://a.example/", 1),
            ("1.2.3.4.5", 1),
        ] {
            let error = Group::parse("ads", text).unwrap_err();
            assert_eq!(error.line(), line, "{text}");
            assert!(error.source().is_some(), "{text}");
        }
        let long = format!("a.example\n{}\n", "b\t".repeat(1000));
        let error = Group::parse("ads", &long).unwrap_err().to_string();
        assert!(error.starts_with(r#"ads, line 2: "b\tb\t"#), "{error}");
        assert!(error.len() < 200, "{error}");
    }

    #[test]
    fn adding_to_a_clone_leaves_the_other_as_it_is() {
        let one = Group::new("one").host("a.example".parse().unwrap());
        let two = one.clone().host("b.example".parse().unwrap());
        assert!(!holds(&one, Some("b.example"), None));
        assert!(holds(&two, Some("b.example"), None) && holds(&two, Some("a.example"), None));
        assert_eq!(format!("{two:?}"), r#"Group { name: "one", entries: 2 }"#);
    }

    #[test]
    fn a_list_of_ten_thousand_is_built_in_place() {
        let net = |bits: u32| IpNet::new(std::net::Ipv4Addr::from(bits).into(), 32).unwrap();
        let mut group = Group::new("many");
        let before = Arc::as_ptr(&group.members);
        for bits in 0..10_000 {
            group = group.network(net(bits * 7));
        }
        assert_eq!(Arc::as_ptr(&group.members), before);
        assert!(group.holds_client(net(69_993).addr()));
        assert!(!group.holds_client(net(69_994).addr()));
    }
}
