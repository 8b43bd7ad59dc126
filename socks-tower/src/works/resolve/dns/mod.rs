//! Looks names up by asking DNS servers itself.
//!
//! A lookup is memory and no thread: ten thousand that wait for slow servers hold up
//! nobody. Use it where clients choose the names; [`SystemResolver`] where the system's
//! own ways count (LDAP, mDNS, `nsswitch.conf`). It is over
//! [hickory](https://docs.rs/hickory-resolver). The page `guide::names` has more of both.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{CacheLayer, DnsResolver, ResolveLayer, TcpConnector, works::resolve::Family};
//! use tower::ServiceBuilder;
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // `DnsResolver::system()` asks those of `/etc/resolv.conf`.
//! let resolver = DnsResolver::new(["192.0.2.53".parse()?, "[2001:db8::53]:5353".parse()?])
//!     .with_timeout(Duration::from_secs(2))
//!     .with_family(Family::PreferIpv4)
//!     .with_cache(CacheLayer::new().with_stale(Duration::from_secs(86_400)));
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(resolver))
//!     .service(TcpConnector::new());
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! # Ok(())
//! # }
//! # run().unwrap();
//! ```
//!
//! # Who is asked
//!
//! - `/etc/hosts` goes first. It is read again when it has changed.
//! - `localhost` and all beneath it is loopback (RFC 6761), and `.onion` (RFC 7686) and
//!   `.invalid` have no address: nobody is asked.
//! - Then the servers, one after the other, in the order given. One that is silent, or
//!   fails, or is lame, costs [`with_timeout`](DnsResolver::with_timeout) at most and is
//!   asked last for 30 seconds, or until it answers. Given servers are the only ones.
//! - Search domains and ndots are those of `/etc/resolv.conf`. A dot at the end of a name
//!   prevents them.
//! - Over UDP, and over TCP what does not fit. If that fails, the server has failed.
//!
//! # Answers
//!
//! - Both families are asked for at once. One that has answered waits 50 ms for the
//!   other (RFC 8305 section 3), which may then still come into the cache.
//! - The addresses come in the order of RFC 6724, or as [`Family`] says; each once, 256 at
//!   most. Aliases are followed within an answer.
//! - A cache is within: see [`cache`](crate::works::resolve::cache). A time to live of
//!   2^31 or more is none (RFC 2181 section 8).
//! - Lookups of the same name at once are one, on a task of its own, and it ends when
//!   nobody waits any more.
//! - Ids and ports are random. An answer counts if its source, its id, its question and
//!   the bit that makes it a response are right; whatever else comes is passed over.
//!
//! # Replies
//!
//! No such name, and none of its addresses are 04. A failure of all servers (SERVFAIL,
//! REFUSED) is 01. Silence of all is 06.
//!
//! # Metrics
//!
//! With the feature `metrics`, `socks_dns_questions_total` counts the questions to
//! servers that have ended, by `result`: `answered`, `failed` or `silent`; a name has
//! one for each family. The [cache](crate::works::resolve::cache#metrics) counts names.
//! Install the recorder before the resolver is made.
//!
//! # What it takes
//!
//! A descriptor for each query that is pending at a server over UDP, up to 64; more
//! share those. One for a connection over TCP, TLS or HTTPS. It needs a tokio runtime
//! with I/O and time; lookups run on that of whoever asks first.
//!
//! [`SystemResolver`]: crate::works::resolve::SystemResolver

mod ask;
mod flights;
mod hosts_file;
mod lookup;
mod order;
mod reverse;
mod server;
mod udp;

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use ask::Servers;
use flights::{Boarding, Flights};
use hickory_resolver::{TlsConfig, system_conf::read_system_conf};
use hosts_file::HostsFile;
use lookup::{Client, Search};
pub use reverse::{DnsReverse, DnsReverseFuture};
pub use server::{DnsServer, DnsServerError};
use socks_core::{DomainName, Host};
#[cfg(feature = "dns-over-tls")]
use tokio_rustls::rustls;
use tower_service::Service;

use super::{
    Answer, Cache, CacheFuture, CacheLayer, Family, LookupError, cache::Store, question::Question,
};
use crate::session::{Request, always_ready};

/// A resolver that asks DNS servers. See the
/// [module's page](crate::works::resolve::dns).
///
/// Cheap to clone; clones share their cache, servers and sockets. Each `with_*` begins
/// with nothing.
#[derive(Clone)]
pub struct DnsResolver {
    settings: Settings,
    cache: Cache<Lookups>,
}

#[derive(Clone)]
struct Settings {
    servers: Vec<DnsServer>,
    search: Search,
    timeout: Duration,
    attempts: usize,
    family: Family,
    hosts: Option<Arc<HostsFile>>,
    cache: CacheLayer,
    #[cfg(feature = "dns-over-tls")]
    tls: Option<rustls::ClientConfig>,
    #[cfg(feature = "dnssec")]
    anchors: Option<Arc<hickory_resolver::proto::dnssec::TrustAnchors>>,
}

impl DnsResolver {
    /// Five seconds for a server to answer, as `resolv.conf` has it unless it says
    /// otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// Servers that are silent are asked twice, as `resolv.conf` has it.
    pub const DEFAULT_ATTEMPTS: usize = 2;

    /// Asks `servers`, and no others. Search domains are the system's, if it has any.
    pub fn new(servers: impl IntoIterator<Item = DnsServer>) -> Self {
        let search = match read_system_conf() {
            Ok((config, options)) => Search::of(&config, options.ndots),
            Err(_) => Search::default(),
        };
        Self::of(Settings {
            servers: servers.into_iter().collect(),
            search,
            timeout: Self::DEFAULT_TIMEOUT,
            attempts: Self::DEFAULT_ATTEMPTS,
            family: Family::default(),
            hosts: Some(Arc::new(HostsFile::system())),
            cache: CacheLayer::new(),
            #[cfg(feature = "dns-over-tls")]
            tls: None,
            #[cfg(feature = "dnssec")]
            anchors: None,
        })
    }

    /// Asks the servers of the system's configuration (`/etc/resolv.conf`), as it says.
    /// It is read once.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or names no server.
    pub fn system() -> io::Result<Self> {
        let (config, options) = read_system_conf().map_err(io::Error::other)?;
        let servers = config.name_servers().iter().map(|server| server.ip.into());
        let mut settings = Self::new(servers).settings;
        settings.timeout = options.timeout;
        settings.attempts = options.attempts;
        Ok(Self::of(settings))
    }

    /// How long a server may take. Then the next one is asked.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// How often servers are asked that do not answer; at least once.
    #[must_use]
    pub fn with_attempts(self, attempts: usize) -> Self {
        self.with(|settings| settings.attempts = attempts.max(1))
    }

    /// Which addresses to use, and which to try first.
    #[must_use]
    pub fn with_family(self, family: Family) -> Self {
        self.with(|settings| settings.family = family)
    }

    /// What to remember, and for how long.
    #[must_use]
    pub fn with_cache(self, cache: CacheLayer) -> Self {
        self.with(|settings| settings.cache = cache)
    }

    /// Whether `/etc/hosts` goes before the servers. It does by default.
    #[must_use]
    pub fn with_hosts_file(self, goes_first: bool) -> Self {
        self.with(|settings| {
            settings.hosts = goes_first.then(|| Arc::new(HostsFile::system()));
        })
    }

    /// Domains to try behind names with fewer than `ndots` dots first, and behind others
    /// if there is no such name, in the place of the system's. What is no domain is
    /// passed over.
    #[must_use]
    pub fn with_search(self, domains: impl IntoIterator<Item = DomainName>, ndots: usize) -> Self {
        let domains = domains
            .into_iter()
            .filter_map(|domain| lookup::to_name(domain.as_str()));
        let domains = domains.collect();
        self.with(|settings| settings.search = Search { domains, ndots })
    }

    /// How to know servers that are asked over TLS or HTTPS. By default by the system's
    /// root certificates.
    #[cfg(feature = "dns-over-tls")]
    #[must_use]
    pub fn with_tls(self, config: rustls::ClientConfig) -> Self {
        self.with(|settings| settings.tls = Some(config))
    }

    /// Whether answers are validated (RFC 4035), by the root's keys. Off by default: a
    /// zone that is signed wrongly, or a server that strips signatures, cannot be looked
    /// up any more (01).
    #[cfg(feature = "dnssec")]
    #[must_use]
    pub fn with_dnssec(self, validates: bool) -> Self {
        self.with(|settings| settings.anchors = validates.then(Arc::default))
    }

    /// Validates answers, as [`with_dnssec`](Self::with_dnssec) does, by other keys than
    /// the root's: DNSKEY records as a zone file has them.
    ///
    /// # Errors
    ///
    /// If `keys` is not that.
    #[cfg(feature = "dnssec")]
    pub fn with_trust_anchors(self, keys: &str) -> io::Result<Self> {
        let anchors = keys.parse().map_err(io::Error::other)?;
        Ok(self.with(|settings| settings.anchors = Some(Arc::new(anchors))))
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings;
        change(&mut settings);
        Self::of(settings)
    }

    fn of(settings: Settings) -> Self {
        let client = Client {
            servers: Servers::new(&settings),
            settings: settings.clone(),
        };
        let cache = settings.cache.clone().with(|store| Lookups {
            client: Arc::new(client),
            flights: Flights::default(),
            remembers: store.clone(),
        });
        Self { settings, cache }
    }

    fn lookups(&self) -> &Lookups {
        &self.cache.inner
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver")
            .field("servers", &self.settings.servers)
            .finish_non_exhaustive()
    }
}

/// The addresses are never none: a name without any is [`LookupError::NotFound`], and
/// all errors are a [`LookupError`].
impl Service<Request<DomainName>> for DnsResolver {
    type Response = Answer;
    type Error = crate::session::BoxError;
    type Future = CacheFuture;

    always_ready!();

    fn call(&mut self, request: Request<DomainName>) -> CacheFuture {
        let lookups = self.lookups();
        match lookups.known(&request.target) {
            Some(known) => CacheFuture::known(known),
            None => self.cache.call(request),
        }
    }
}

/// The resolver behind the cache.
#[derive(Clone)]
struct Lookups {
    client: Arc<Client>,
    flights: Flights,
    /// The cache, for what comes when nobody waits for it any more.
    remembers: Arc<Store>,
}

impl Lookups {
    fn client(&self) -> &Client {
        &self.client
    }

    fn hosts(&self) -> Option<&HostsFile> {
        self.client.settings.hosts.as_deref()
    }

    /// What is known without asking anybody, nor remembering it.
    fn known(&self, name: &DomainName) -> Option<Result<Answer, LookupError>> {
        let question = Question::from(name.clone());
        let mut addrs = match question.known() {
            Some(known) => known.to_vec(),
            None => self.hosts()?.addrs(name)?,
        };
        self.client.settings.arrange(&mut addrs);
        Some(match addrs.is_empty() {
            true => Err(LookupError::not_found(Host::Name(name.clone()))),
            false => Ok(Answer::new(addrs, Some(Duration::ZERO))),
        })
    }
}

impl Service<Request<DomainName>> for Lookups {
    type Response = Answer;
    type Error = LookupError;
    type Future = Lookup;

    always_ready!();

    fn call(&mut self, request: Request<DomainName>) -> Lookup {
        let name = request.target;
        let question = Question::from(name.clone());
        let (client, store) = (self.client.clone(), self.remembers.clone());
        let (asked, of) = (name.clone(), question.clone());
        let boarding = self.flights.board(question, |pilot| async move {
            let outcome = client.look_up(&asked, &pilot).await;
            store.put(&of, outcome.as_ref().map_err(AsRef::as_ref));
            outcome
        });
        Lookup { name, boarding }
    }
}

/// A lookup that somebody waits for.
struct Lookup {
    name: DomainName,
    boarding: Boarding,
}

impl Future for Lookup {
    type Output = Result<Answer, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.boarding).poll(cx));
        Poll::Ready(match outcome {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(error.again()),
            None => Err(LookupError::Failed {
                host: self.name.clone().into(),
                source: io::Error::other("its runtime has ended").into(),
            }),
        })
    }
}

impl Settings {
    #[cfg(feature = "dnssec")]
    fn validates(&self) -> bool {
        self.anchors.is_some()
    }

    #[cfg(not(feature = "dnssec"))]
    #[expect(clippy::unused_self, reason = "nothing says otherwise")]
    fn validates(&self) -> bool {
        false
    }

    #[cfg(feature = "dns-over-tls")]
    fn tls(&self) -> TlsConfig {
        let is_needed = self.servers.iter().any(DnsServer::is_encrypted);
        let config = match &self.tls {
            Some(config) => config.clone(),
            None => system_roots(is_needed),
        };
        TlsConfig { config }
    }

    #[cfg(not(feature = "dns-over-tls"))]
    #[expect(clippy::unused_self, reason = "there is no TLS")]
    #[expect(
        clippy::expect_used,
        reason = "without TLS it has nothing to fail with"
    )]
    fn tls(&self) -> TlsConfig {
        TlsConfig::new().expect("a configuration of nothing")
    }
}

/// Believes whom the system believes, if anybody is to be believed at all.
#[cfg(feature = "dns-over-tls")]
fn system_roots(is_needed: bool) -> rustls::ClientConfig {
    use std::sync::OnceLock;

    use hickory_resolver::net::tls::default_provider;
    use rustls::{ClientConfig, RootCertStore};

    /// Read once: there are many, and each `with_*` comes here.
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "cannot read all of the system's root certificates");
        }
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    };
    let roots = match is_needed {
        true => ROOTS.get_or_init(read).clone(),
        false => Arc::new(RootCertStore::empty()),
    };
    let versions = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions();
    #[expect(
        clippy::expect_used,
        reason = "ring knows what rustls speaks by default"
    )]
    let versions = versions.expect("a provider with the default versions");
    versions.with_root_certificates(roots).with_no_client_auth()
}
