//! One question to the servers, in the order in which they deserve it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_resolver::{
    NameServerPool, PoolContext,
    config::ResolverOpts,
    net::{DnsError, DnsHandle, NetError, NoRecords, xfer::FirstAnswer},
    proto::{
        op::{DnsRequestOptions, DnsResponse, Query, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
};
use tokio::time::Instant;

use super::{Settings, udp::Connections};
use crate::session::timeout;

/// How long a server that failed is asked last.
const PENALTY: Duration = Duration::from_secs(30);

/// As many as there are ids, nearly: what is pending at a server is bounded by who waits.
const MAX_PENDING: usize = 60_000;

/// What the servers say of a question.
#[derive(Debug)]
pub(super) enum Told {
    /// This, and for how long it holds.
    Records(Vec<RData>, Duration),
    /// There is nothing of the kind; for how long that holds, if they say so.
    Nothing(Option<Duration>),
    /// There is no such name at all.
    NoName(Option<Duration>),
}

/// No server could tell.
#[derive(Debug)]
pub(super) enum Trouble {
    /// None said anything.
    Silent,
    /// One has failed, or could not be reached.
    Failed(NetError),
}

/// All servers.
pub(super) struct Servers {
    servers: Vec<Server>,
    options: DnsRequestOptions,
    timeout: Duration,
    attempts: usize,
    begun: Instant,
    counts: Counts,
}

struct Server {
    handle: Handle,
    /// Until when it is asked last, in milliseconds from the beginning.
    punished: AtomicU64,
}

enum Handle {
    Plain(NameServerPool<Connections>),
    #[cfg(feature = "dnssec")]
    Secure(hickory_resolver::net::dnssec::DnssecDnsHandle<NameServerPool<Connections>>),
}

impl Servers {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut options = ResolverOpts::default();
        options.timeout = settings.timeout;
        options.attempts = 0;
        options.num_concurrent_reqs = 1;
        options.max_active_requests = MAX_PENDING;
        let mut asked = DnsRequestOptions::default();
        asked.edns_set_dnssec_ok = settings.validates();
        let provider = Connections::default();
        let context = Arc::new(PoolContext::new(options, settings.tls()));
        let server = |server: &super::DnsServer| {
            let config = [server.config()];
            let pool = NameServerPool::from_config(config, context.clone(), provider.clone());
            Server {
                handle: Handle::new(pool, settings),
                punished: AtomicU64::new(0),
            }
        };
        Self {
            servers: settings.servers.iter().map(server).collect(),
            options: asked,
            timeout: settings.timeout,
            attempts: settings.attempts,
            begun: Instant::now(),
            counts: Counts::new(),
        }
    }

    /// Asks one server after the other; those that were silent again, as often as may
    /// be.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Told, Trouble> {
        let mut trouble = Trouble::Silent;
        let mut waiting = self.in_order();
        for _ in 0..self.attempts {
            let mut silent = Vec::new();
            for server in waiting {
                let asked = self.ask_one(server, name, kind).await;
                self.counts.count(&asked);
                match asked {
                    Ok(told) => {
                        server.punished.store(0, Relaxed);
                        return Ok(told);
                    }
                    Err(failed) => {
                        server.punished.store(self.now() + millis(PENALTY), Relaxed);
                        match failed {
                            Trouble::Silent => silent.push(server),
                            Trouble::Failed(_) => trouble = failed,
                        }
                    }
                }
            }
            waiting = silent;
        }
        Err(trouble)
    }

    async fn ask_one(
        &self,
        server: &Server,
        name: &Name,
        kind: RecordType,
    ) -> Result<Told, Trouble> {
        let query = Query::query(name.clone(), kind);
        let asked = match &server.handle {
            Handle::Plain(pool) => {
                timeout(
                    self.timeout,
                    pool.lookup(query, self.options).first_answer(),
                )
                .await
            }
            #[cfg(feature = "dnssec")]
            Handle::Secure(secure) => {
                timeout(
                    self.timeout,
                    secure.lookup(query, self.options).first_answer(),
                )
                .await
            }
        };
        #[cfg(feature = "dnssec")]
        if let (Handle::Secure(_), Ok(answered)) = (&server.handle, &asked)
            && !is_proven(answered)
        {
            return Err(Trouble::Failed(DnsError::DnssecBogus.into()));
        }
        match asked {
            Ok(Ok(response)) => Ok(told(&response, name, kind)),
            Ok(Err(error)) => failed(error),
            Err(_) => Err(Trouble::Silent),
        }
    }

    /// Those that have failed lately come last; the others in the order given.
    fn in_order(&self) -> Vec<&Server> {
        let now = self.now();
        let mut servers: Vec<_> = self.servers.iter().collect();
        servers.sort_by_key(|server| server.punished.load(Relaxed) > now);
        servers
    }

    fn now(&self) -> u64 {
        millis(self.begun.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Handle {
    #[cfg(feature = "dnssec")]
    fn new(pool: NameServerPool<Connections>, settings: &Settings) -> Self {
        use hickory_resolver::net::dnssec::DnssecDnsHandle;

        match &settings.anchors {
            Some(anchors) => {
                Self::Secure(DnssecDnsHandle::with_trust_anchor(pool, anchors.clone()))
            }
            None => Self::Plain(pool),
        }
    }

    #[cfg(not(feature = "dnssec"))]
    fn new(pool: NameServerPool<Connections>, _: &Settings) -> Self {
        Self::Plain(pool)
    }
}

/// How questions to servers end.
#[cfg(feature = "metrics")]
struct Counts {
    answered: metrics::Counter,
    failed: metrics::Counter,
    silent: metrics::Counter,
}

#[cfg(feature = "metrics")]
impl Counts {
    fn new() -> Self {
        const NAME: &str = "socks_dns_questions_total";
        metrics::describe_counter!(NAME, "Questions to DNS servers that have ended");
        Self {
            answered: metrics::counter!(NAME, "result" => "answered"),
            failed: metrics::counter!(NAME, "result" => "failed"),
            silent: metrics::counter!(NAME, "result" => "silent"),
        }
    }

    fn count(&self, asked: &Result<Told, Trouble>) {
        match asked {
            Ok(_) => &self.answered,
            Err(Trouble::Failed(_)) => &self.failed,
            Err(Trouble::Silent) => &self.silent,
        }
        .increment(1);
    }
}

#[cfg(not(feature = "metrics"))]
struct Counts;

#[cfg(not(feature = "metrics"))]
impl Counts {
    fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "there is nothing to count by")]
    fn count(&self, _: &Result<Told, Trouble>) {}
}

/// What there is of `kind` at the end of the aliases that `name` has.
fn told(response: &DnsResponse, name: &Name, kind: RecordType) -> Told {
    let mut owner = name;
    let mut holds = u32::MAX;
    // An alias for each record at most: in a loop, there is no end.
    for _ in 0..=response.answers.len() {
        let of_owner = || {
            response
                .answers
                .iter()
                .filter(|record| record.name == *owner)
        };
        let found: Vec<_> = of_owner()
            .filter(|record| record.record_type() == kind)
            .collect();
        if !found.is_empty() {
            let records = found.iter().map(|record| record.data.clone()).collect();
            let least = found.iter().map(|record| ttl(record)).min().unwrap_or(0);
            return Told::Records(records, Duration::from_secs(holds.min(least).into()));
        }
        let alias = of_owner().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some((record, &alias.0)),
            _ => None,
        });
        let Some((record, alias)) = alias else {
            break;
        };
        holds = holds.min(ttl(record));
        owner = alias;
    }
    let negative = response.negative_ttl().map(seconds);
    match response.response_code {
        ResponseCode::NXDomain => Told::NoName(negative),
        _ => Told::Nothing(negative),
    }
}

/// One of 2^31 or more is none (RFC 2181 section 8).
fn ttl(record: &Record) -> u32 {
    if i32::try_from(record.ttl).is_ok() {
        record.ttl
    } else {
        0
    }
}

fn seconds(ttl: u32) -> Duration {
    let ttl = if i32::try_from(ttl).is_ok() { ttl } else { 0 };
    Duration::from_secs(ttl.into())
}

/// Whether all that is answered is signed, or in a zone that is shown not to be. What
/// hickory has looked at it hands on with its judgement, the forged too.
#[cfg(feature = "dnssec")]
fn is_proven(answered: &Result<DnsResponse, NetError>) -> bool {
    use hickory_resolver::proto::dnssec::Proof;

    let is_good = |proof: &Proof| proof.is_secure() || proof.is_insecure();
    match answered {
        Ok(response) => {
            let mut records = response.answers.iter();
            records
                .all(|record| record.record_type() == RecordType::RRSIG || is_good(&record.proof))
        }
        Err(NetError::Dns(DnsError::Nsec { proof, .. })) => is_good(proof),
        Err(_) => true,
    }
}

/// What hickory calls an error may be an answer.
fn failed(error: NetError) -> Result<Told, Trouble> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none {
            NoRecords {
                response_code: ResponseCode::NXDomain,
                negative_ttl,
                ..
            } => Ok(Told::NoName(negative_ttl.map(seconds))),
            // It knows others who may know: it is lame (RFC 1034 section 4.3.1).
            NoRecords {
                soa: None,
                ns: Some(_),
                ..
            } => Err(Trouble::Failed(NetError::Dns(DnsError::NoRecordsFound(
                none,
            )))),
            NoRecords { negative_ttl, .. } => Ok(Told::Nothing(negative_ttl.map(seconds))),
        },
        #[cfg(feature = "dnssec")]
        NetError::Dns(DnsError::Nsec { response, .. }) => {
            let negative = response.negative_ttl().map(seconds);
            Ok(match response.response_code {
                ResponseCode::NXDomain => Told::NoName(negative),
                _ => Told::Nothing(negative),
            })
        }
        NetError::Timeout => Err(Trouble::Silent),
        NetError::Io(error) if error.kind() == io::ErrorKind::TimedOut => Err(Trouble::Silent),
        error => Err(Trouble::Failed(error)),
    }
}
