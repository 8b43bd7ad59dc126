//! What a verifier knows of a client besides its name is there for rules, limits
//! and layers.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use socks_tower::{
    Accepted, Admitted, Attempt, AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer,
    Connector, DomainName, HandshakeLayer, HttpConnectLayer, Identity, Match, Proxy, Relay,
    Request, ResolveLayer, Rules, Session,
    middleware::{
        BandwidthLayer, ByteRate, LiveLimitLayer, MemoryQuota, QuotaLayer, Rate, RateLimitLayer,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tenant(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Free,
    Gold,
}

fn tenant(session: &Session) -> Option<Tenant> {
    session.extensions.get().cloned()
}

/// The tenant, if this is its plan.
fn on(plan: Plan) -> impl Fn(&Session) -> Option<Tenant> + Clone {
    move |session| tenant(session).filter(|_| session.extensions.get() == Some(&plan))
}

/// Names are `user@tenant`. Acme has paid.
async fn verify(attempt: Attempt) -> Result<Admitted, BoxError> {
    let name = attempt.credentials.username.to_str().unwrap_or_default();
    let (_, tenant) = name.split_once('@').ok_or("no tenant")?;
    let plan = match tenant {
        "acme" => Plan::Gold,
        _ => Plan::Free,
    };
    Ok(Admitted::from(Identity::new(name))
        .with_extension(Tenant(tenant.to_owned()))
        .with_extension(plan))
}

/// A target that sends as much as it can.
async fn target<T>(_: Request<T>) -> Result<DuplexStream, BoxError> {
    let (near, mut far) = duplex(1024);
    tokio::spawn(async move { while far.write_all(&[7; 1024]).await.is_ok() {} });
    Ok(near)
}

/// A proxy with a layer behind authentication.
fn proxy<L, C>(layer: L, connector: C) -> impl Proxy<DuplexStream> + Clone + Send
where
    C: Connector<Request>,
    L: Layer<
            socks_tower::Connect<C, Relay>,
            Service: socks_tower::Stage<
                socks_tower::Requested<socks_tower::ClientStream<DuplexStream>>,
                Response = socks_tower::Transfer,
            >,
        > + Clone,
{
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(service_fn(verify)))
        .layer(layer)
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

/// What a client of SOCKS5 hears that is called `name`: its reply, and its stream.
async fn connect<P>(proxy: &P, name: &str) -> (u8, DuplexStream)
where
    P: Proxy<DuplexStream> + Clone + Send + 'static,
{
    let (mut client, io) = duplex(1024);
    let session = proxy.clone().oneshot(Accepted::new(io, Session::new()));
    tokio::spawn(async move { session.await.map_err(Into::<BoxError>::into) });
    let mut words = b"\x05\x01\x02\x01".to_vec();
    words.push(name.len().try_into().unwrap());
    words.extend(name.as_bytes());
    words.extend(b"\x01x\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19");
    client.write_all(&words).await.unwrap();
    let mut heard = [0; 14];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard[..5], [5, 2, 1, 0, 5]);
    (heard[5], client)
}

#[tokio::test(start_paused = true)]
async fn a_live_limit_counts_by_tenant() {
    let limit = LiveLimitLayer::by(1, tenant);
    let proxy = proxy(
        tower::layer::util::Identity::new(),
        limit.layer(service_fn(target)),
    );
    let (code, _lives) = connect(&proxy, "joe@acme").await;
    assert_eq!(code, 0);
    assert_eq!(connect(&proxy, "ann@acme").await.0, 1);
    assert_eq!(connect(&proxy, "ann@other").await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_chosen_by_plan_and_counted_by_tenant() {
    let free = RateLimitLayer::by(Rate::per_minute(1), on(Plan::Free));
    let gold = RateLimitLayer::by(Rate::per_minute(3), on(Plan::Gold));
    let connector = ServiceBuilder::new().layer(free).layer(gold);
    let proxy = proxy(
        tower::layer::util::Identity::new(),
        connector.service(service_fn(target)),
    );
    for (name, codes) in [("joe@acme", [0, 0, 0, 1]), ("joe@other", [0, 1, 1, 1])] {
        for code in codes {
            assert_eq!(connect(&proxy, name).await.0, code, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_chosen_by_plan() {
    let free = BandwidthLayer::by(ByteRate::per_second(10_000), on(Plan::Free));
    let gold = BandwidthLayer::by(ByteRate::per_second(100_000), on(Plan::Gold));
    let proxy = proxy(free.and(gold), service_fn(target));
    for (name, seconds) in [("joe@acme", 0), ("joe@other", 4)] {
        let (_, mut client) = connect(&proxy, name).await;
        let began = Instant::now();
        // A burst is as much as there is in a second.
        client.read_exact(&mut [0; 50_000]).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), seconds, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_kept_by_tenant() {
    let day = Duration::from_secs(24 * 60 * 60);
    let quota = QuotaLayer::by(MemoryQuota::new(1000, day), |session| {
        Some(tenant(session)?.0)
    });
    let proxy = proxy(quota, service_fn(target));
    let (code, mut client) = connect(&proxy, "joe@acme").await;
    assert_eq!(code, 0);
    client.read_to_end(&mut Vec::new()).await.unwrap();

    assert_eq!(connect(&proxy, "ann@acme").await.0, 2);
    assert_eq!(connect(&proxy, "ann@other").await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn rules_ask_about_a_plan() {
    let nowhere = service_fn(|_: Request<DomainName>| async { Err::<Vec<_>, _>("no names here") });
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(nowhere))
        .layer(AuthorizeLayer::new(
            Rules::new().permit_all_special().deny(
                Match::any()
                    .port(25)
                    .extension(|plan: &Plan| *plan == Plan::Free),
            ),
        ))
        .service(service_fn(target));
    let proxy = proxy(tower::layer::util::Identity::new(), connector);
    assert_eq!(connect(&proxy, "joe@acme").await.0, 0);
    assert_eq!(connect(&proxy, "joe@other").await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn http_hears_of_a_rate_429_and_when_to_come_again() {
    let connector = RateLimitLayer::overall(Rate::per_minute(2)).layer(service_fn(target));
    let proxy = ServiceBuilder::new()
        .layer(HttpConnectLayer::open())
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    for status in ["200", "200", "429"] {
        let (mut client, io) = duplex(1024);
        let session = proxy.clone().oneshot(Accepted::new(io, Session::new()));
        tokio::spawn(session);
        let words = b"CONNECT 192.0.2.1:80 HTTP/1.1\r\n\r\n";
        client.write_all(words).await.unwrap();
        let mut heard = vec![0; 75];
        client.read_exact(&mut heard).await.unwrap();
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
        assert_eq!(
            heard.contains("\r\nRetry-After: 30\r\n"),
            status == "429",
            "{heard}"
        );
    }
}
