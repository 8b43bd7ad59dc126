//! A name's addresses: which names are asked for, and both families.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    config::ResolverConfig,
    proto::rr::{Name, RData, RecordType},
};
use socks_core::{DomainName, Host};
use tokio::time::{Instant, sleep};
use tower::timeout::error::Elapsed;

use super::{
    Settings,
    ask::{Servers, Told, Trouble},
    flights::{Outcome, Pilot},
    order,
};
use crate::works::resolve::{Answer, LookupError};

/// How long an answer of one family waits for the other (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// What one family has failed to say is asked for again after this long.
const FAILURE: Duration = Duration::from_secs(1);

/// Addresses that an answer has at most: each is judged by the rules.
const MAX_ADDRS: usize = 256;

/// What a lookup needs.
pub(super) struct Client {
    pub(super) settings: Settings,
    pub(super) servers: Servers,
}

impl Client {
    /// Asks for `name`, and for what the search domains make of it, until there is one.
    pub(super) async fn look_up(&self, name: &DomainName, pilot: &Pilot) -> Outcome {
        let host = Host::Name(name.clone());
        let begun = Instant::now();
        let mut holds = None;
        for candidate in self.settings.search.names(name) {
            match self.both_families(&candidate, pilot).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(ttl)) => holds = least(holds, ttl),
                Err(trouble) => return Err(Arc::new(trouble.into_error(host, begun.elapsed()))),
            }
        }
        // Where no zone says for how long, it is not kept (RFC 2308 section 5).
        let ttl = Some(holds.unwrap_or_default());
        Err(Arc::new(LookupError::NotFound { host, ttl }))
    }

    /// The addresses of one name; or that it has none, and for how long that holds.
    async fn both_families(
        &self,
        name: &Name,
        pilot: &Pilot,
    ) -> Result<Result<Answer, Option<Duration>>, Trouble> {
        let family = self.settings.family;
        let mut v4 = pin!(self.servers.ask(name, RecordType::A));
        let mut v6 = pin!(self.servers.ask(name, RecordType::AAAA));
        let unused = |ip: IpAddr| (!family.uses(&ip)).then_some(Ok(Told::Nothing(None)));
        let mut told_v4 = unused(Ipv4Addr::UNSPECIFIED.into());
        let mut told_v6 = unused(Ipv6Addr::UNSPECIFIED.into());
        let mut delay = pin!(sleep(RESOLUTION_DELAY));
        let mut waits = false;
        while told_v4.is_none() || told_v6.is_none() {
            tokio::select! {
                told = &mut v4, if told_v4.is_none() => told_v4 = Some(told),
                told = &mut v6, if told_v6.is_none() => told_v6 = Some(told),
                () = &mut delay, if waits => {
                    let (answer, _) = self.answer([&told_v4, &told_v6]);
                    pilot.tell_early(&answer);
                    waits = false;
                    continue;
                }
            }
            let both = || [&told_v4, &told_v6].into_iter().flatten();
            // Then it is in neither family.
            let no_name = |told: &Result<Told, Trouble>| match told {
                Ok(Told::NoName(ttl)) => Some(*ttl),
                _ => None,
            };
            if let Some(ttl) = both().find_map(no_name) {
                return Ok(Err(ttl));
            }
            if both().any(|told| matches!(told, Ok(Told::Records(..)))) {
                delay.as_mut().reset(Instant::now() + RESOLUTION_DELAY);
                waits = true;
            }
        }
        let (answer, holds) = self.answer([&told_v4, &told_v6]);
        if !answer.addrs().is_empty() {
            return Ok(Ok(answer));
        }
        match [told_v4, told_v6]
            .into_iter()
            .flatten()
            .find_map(Result::err)
        {
            Some(trouble) => Err(trouble),
            None => Ok(Err(holds)),
        }
    }

    /// All addresses in order, and for how long what is told holds. An answer that may
    /// lack a family does not hold.
    fn answer(&self, told: [&Option<Result<Told, Trouble>>; 2]) -> (Answer, Option<Duration>) {
        let mut addrs = Vec::new();
        let mut holds = None;
        for told in told {
            match told {
                Some(Ok(Told::Records(records, ttl))) => {
                    addrs.extend(records.iter().filter_map(RData::ip_addr));
                    holds = least(holds, Some(*ttl));
                }
                Some(Ok(Told::Nothing(ttl) | Told::NoName(ttl))) => holds = least(holds, *ttl),
                Some(Err(_)) => holds = least(holds, Some(FAILURE)),
                None => holds = Some(Duration::ZERO),
            }
        }
        self.settings.arrange(&mut addrs);
        (Answer::new(addrs, holds), holds)
    }
}

impl Settings {
    /// Puts addresses in the order in which they are to be tried.
    pub(super) fn arrange(&self, addrs: &mut Vec<IpAddr>) {
        for addr in addrs.iter_mut() {
            *addr = addr.to_canonical();
        }
        let mut seen = std::collections::HashSet::new();
        addrs.retain(|addr| seen.insert(*addr));
        addrs.truncate(MAX_ADDRS);
        order::sort(addrs);
        self.family.arrange(addrs);
    }
}

fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Trouble {
    pub(super) fn into_error(self, host: Host, took: Duration) -> LookupError {
        match self {
            Self::Silent => LookupError::TimedOut {
                host,
                timeout: took,
                source: Elapsed::new(),
            },
            Self::Failed(error) => {
                let source = io::Error::other(error).into();
                LookupError::Failed { host, source }
            }
        }
    }
}

/// Domains that are tried behind a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    pub(super) domains: Vec<Name>,
    /// With so many dots, a name is first tried as it is.
    pub(super) ndots: usize,
}

impl Search {
    /// As the system has it: by its lists, or else by its own domain.
    pub(super) fn of(config: &ResolverConfig, ndots: usize) -> Self {
        let domains = match config.search() {
            [] => config.domain().into_iter().cloned().collect(),
            search => search.to_vec(),
        };
        Self { domains, ndots }
    }

    /// What to ask for, in order. None, if it can be nobody's name.
    fn names(&self, name: &DomainName) -> Vec<Name> {
        let text = name.as_str();
        let Some(mut whole) = to_name(text) else {
            return Vec::new();
        };
        let relative = whole.clone();
        whole.set_fqdn(true);
        if text.ends_with('.') {
            return vec![whole];
        }
        let within = |domain| relative.clone().append_domain(domain).ok();
        let mut names: Vec<_> = self.domains.iter().filter_map(within).collect();
        let first = text.matches('.').count() >= self.ndots;
        names.insert(if first { 0 } else { names.len() }, whole);
        names
    }
}

/// By its labels: hickory's own reading of a text knows escapes, which nobody else who
/// sees the name does.
pub(super) fn to_name(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_ascii() {
        Name::from_labels(text.split('.').map(str::as_bytes)).ok()
    } else {
        // IDNA.
        Name::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(search: &Search, name: &str) -> Vec<String> {
        let names = search.names(&DomainName::new(name).unwrap());
        names.iter().map(Name::to_ascii).collect()
    }

    #[test]
    fn a_name_is_searched_for_as_resolv_conf_says() {
        let domains = ["a.example", "b.example"].map(|name| to_name(name).unwrap());
        let search = Search {
            domains: domains.into(),
            ndots: 1,
        };
        assert_eq!(
            names(&search, "db"),
            ["db.a.example.", "db.b.example.", "db."]
        );
        let whole_first = ["x.db.", "x.db.a.example.", "x.db.b.example."];
        assert_eq!(names(&search, "x.db"), whole_first);
        assert_eq!(names(&search, "db."), ["db."]);
        assert_eq!(names(&search, "x.db."), ["x.db."]);
        assert_eq!(names(&Search::default(), "db"), ["db."]);
    }

    #[test]
    fn a_name_is_what_it_reads_as() {
        assert_eq!(
            names(&Search::default(), "straße.example"),
            ["xn--strae-oqa.example."]
        );
        let odd = to_name(r"a\046b.example").unwrap();
        assert_eq!(odd.num_labels(), 2);
        let too_long = format!("{}.example", "a".repeat(64));
        assert_eq!(names(&Search::default(), &too_long), [""; 0]);
    }
}
