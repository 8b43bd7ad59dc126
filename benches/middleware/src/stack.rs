//! The stacks.

use std::{
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;
use metrics_exporter_prometheus::PrometheusBuilder;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, Command, ConnectLayer, HandshakeLayer, LoopGuard, Match,
    NoAuth, Proxy, Relay, ResolveLayer, Rules, SystemResolver, TcpConnector, Users,
    middleware::{
        AccessLogLayer, BandwidthLayer, ByteRate, LiveLimitLayer, LockoutLayer, MemoryQuota,
        MetricsLayer, QuotaLayer, Rate, RateLimitLayer, RegisterLayer, Sessions,
    },
};
use tokio::net::TcpStream;
use tower::{Layer, ServiceBuilder};

const TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// More connections at once than there are descriptors for.
const CONNECTIONS: usize = 100_000;

/// What is never reached, so that all is counted and nothing is held back.
const GENEROUS: Rate = Rate::per_second(1_000_000_000);
const GENEROUS_BYTES: ByteRate = ByteRate::per_second(1_000_000_000_000);

/// What `limited` lets through, each way: 10 MB/s.
const LIMIT: ByteRate = ByteRate::per_second(10_000_000);

fn authenticate(users: Option<Users>) -> AuthenticateLayer {
    match users {
        Some(users) => AuthenticateLayer::password(users),
        None => AuthenticateLayer::new(NoAuth),
    }
}

/// SOCKS as `socks-proxy` has it.
pub(crate) fn bare(users: Option<Users>) -> impl Proxy<TcpStream> + Clone + Send + 'static {
    let connector = ServiceBuilder::new()
        .timeout(TIMEOUT)
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(TcpConnector::new());
    ServiceBuilder::new()
        .concurrency_limit(CONNECTIONS)
        .layer(HandshakeLayer::new())
        .layer(authenticate(users))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

/// The same with every middleware but TLS, the PROXY protocol and HTTP, each
/// once.
pub(crate) fn all(
    users: Option<Users>,
    addr: SocketAddr,
) -> Result<impl Proxy<TcpStream> + Clone + Send + 'static> {
    let connector = ServiceBuilder::new()
        .timeout(TIMEOUT)
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(LoopGuard::new([addr])))
        .layer(AuthorizeLayer::new(rules()?))
        .service(TcpConnector::new());

    let lockout = LockoutLayer::new();
    let authenticate = match users {
        Some(users) => AuthenticateLayer::password(lockout.layer(users)),
        None => AuthenticateLayer::new(NoAuth),
    };
    let bandwidth = BandwidthLayer::per_tunnel(GENEROUS_BYTES)
        .and(BandwidthLayer::per_client(GENEROUS_BYTES))
        .and(BandwidthLayer::per_identity(GENEROUS_BYTES))
        .and(BandwidthLayer::overall(GENEROUS_BYTES));
    let quota = QuotaLayer::per_identity(MemoryQuota::new(u64::MAX, DAY));

    Ok(ServiceBuilder::new()
        .concurrency_limit(CONNECTIONS)
        .layer(metrics()?)
        .layer(access_log()?)
        .layer(RateLimitLayer::per_client(GENEROUS))
        .layer(LiveLimitLayer::per_client(CONNECTIONS))
        .layer(lockout.gate())
        .layer(HandshakeLayer::new())
        .layer(authenticate)
        .layer(bandwidth)
        .layer(quota)
        .layer(RegisterLayer::new(Sessions::new()))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new()))
}

/// `bare` and a limit of what all tunnels may move together.
pub(crate) fn limited() -> impl Proxy<TcpStream> + Clone + Send + 'static {
    let bandwidth = BandwidthLayer::overall(LIMIT);
    ServiceBuilder::new().layer(bandwidth).service(bare(None))
}

/// Counted by a recorder that is in use: Prometheus's.
fn metrics() -> Result<MetricsLayer> {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(5));
            recorder.run_upkeep();
        }
    });
    Ok(MetricsLayer::new())
}

/// Lines in 3proxy's form, many to a write, to where they cost no disk.
fn access_log() -> Result<AccessLogLayer> {
    let file = File::options().append(true).open("/dev/null")?;
    let buffer = Mutex::new(BufWriter::with_capacity(64 * 1024, file));
    Ok(AccessLogLayer::three_proxy(move |line| {
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = buffer.write_all(line.as_bytes());
    }))
}

/// Three dozen rules of the usual kinds. All are asked: the last allows.
fn rules() -> Result<Rules> {
    let mut rules = Rules::new().permit_all_special();
    for at in 0..12 {
        let net = format!("198.51.{at}.0/24").parse()?;
        let domain = format!("{at}.example.com").parse()?;
        rules = rules
            .deny(Match::any().network(net))
            .deny(Match::any().domain(domain))
            .deny(Match::any().identity(format!("user{at}")).ports(20..=25));
    }
    let clients = "127.0.0.0/8".parse()?;
    let rest = Match::any().client(clients).command(Command::CONNECT);
    Ok(rules.allow(rest).deny_by_default())
}
