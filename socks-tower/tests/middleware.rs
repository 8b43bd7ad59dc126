//! Middleware at each level of a stack, tower's and a user's own, and what the
//! client hears of it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    convert::Infallible,
    future::pending,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use socks_tower::{
    Accepted, Admitted, Attempt, AuthMethod, AuthenticateLayer, AuthorizeLayer, BoxError,
    ConnectLayer, Connector, DomainName, HandshakeLayer, HasSession, Identity, Method, Negotiation,
    NoAuth, Pinned, Proxy, Refusal, Relay, ReplyCode, Request, ResolveLayer, Rules, Session,
    Transfer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// A client on a pipe, and its session.
struct Client {
    io: DuplexStream,
    session: JoinHandle<Result<Transfer, BoxError>>,
}

impl Client {
    fn of(proxy: impl Proxy<DuplexStream, Future: Send> + Send + 'static) -> Self {
        let (io, far) = duplex(1024);
        let accepted = Accepted::new(far, Session::new());
        let session = async move { proxy.oneshot(accepted).await.map_err(Into::into) };
        let session = tokio::spawn(session);
        Self { io, session }
    }

    async fn says(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    async fn hears(&mut self, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        self.io.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
    }

    async fn hears_the_end(&mut self) {
        let mut heard = Vec::new();
        self.io.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }
}

const HELLO: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x00\x50";
const PASSWORD: &[u8] = b"\x05\x01\x02\x01\x03joe\x06secret\x05\x01\x00\x03\x0bexample.com\x00\x50";
const GRANTED: &[u8] = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

fn refused(code: u8) -> [u8; 12] {
    [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A target that says `hello`.
async fn target<T>(_: Request<T>) -> Result<DuplexStream, Infallible> {
    let (near, mut far) = duplex(64);
    tokio::spawn(async move {
        far.write_all(b"hello").await.unwrap();
        sleep(3600 * SECOND).await;
    });
    Ok(near)
}

async fn stuck<T>(_: Request<T>) -> Result<DuplexStream, Infallible> {
    pending().await
}

fn open(
    connector: impl Connector<Request>,
) -> impl Proxy<DuplexStream, Future: Send> + Send + Clone {
    guarded(AuthenticateLayer::new(NoAuth), connector)
}

fn guarded(
    auth: AuthenticateLayer,
    connector: impl Connector<Request>,
) -> impl Proxy<DuplexStream, Future: Send> + Send + Clone {
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(auth)
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_the_connector_is_ttl_expired() {
    let connector = ServiceBuilder::new().timeout(SECOND).service_fn(stuck);
    let mut client = Client::of(open(connector));

    client.says(HELLO).await;

    client.hears(&refused(6)).await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_around_the_connector_makes_dials_wait() {
    let slow = |request: Request| async move {
        sleep(SECOND).await;
        target(request).await
    };
    let connector = ServiceBuilder::new().concurrency_limit(1).service_fn(slow);
    let proxy = open(connector);
    let (mut first, mut second) = (Client::of(proxy.clone()), Client::of(proxy));
    let began = Instant::now();

    first.says(HELLO).await;
    second.says(HELLO).await;

    first.hears(GRANTED).await;
    second.hears(GRANTED).await;
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn with_load_shed_a_dial_too_many_is_a_general_failure() {
    let connector = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service_fn(stuck);
    let proxy = open(connector);
    let (mut first, mut second) = (Client::of(proxy.clone()), Client::of(proxy));

    first.says(HELLO).await;
    first.hears(b"\x05\x00").await;
    sleep(SECOND).await;
    second.says(HELLO).await;

    second.hears(&refused(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_behind_a_buffer_makes_dials_wait() {
    let connector = ServiceBuilder::new()
        .buffer(16)
        .rate_limit(1, 10 * SECOND)
        .service_fn(target);
    let proxy = open(connector);
    let (mut first, mut second) = (Client::of(proxy.clone()), Client::of(proxy));
    let began = Instant::now();

    first.says(HELLO).await;
    first.hears(GRANTED).await;
    assert!(began.elapsed() < SECOND);
    second.says(HELLO).await;
    second.hears(GRANTED).await;

    assert!(began.elapsed() >= 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_same_goes_around_a_resolver_and_an_authorizer() {
    let stuck = |_: Request<DomainName>| pending::<Result<Vec<IpAddr>, Infallible>>();
    let resolver = ServiceBuilder::new().timeout(SECOND).service_fn(stuck);
    let connector = ResolveLayer::new(resolver).layer(service_fn(target::<Pinned>));
    let mut client = Client::of(open(connector));
    client.says(HELLO).await;
    client.hears(&refused(6)).await;

    let stuck = |_: Request| pending::<Result<Request, Infallible>>();
    let authorizer = ServiceBuilder::new().timeout(SECOND).service_fn(stuck);
    let connector = AuthorizeLayer::new(authorizer).layer(service_fn(target));
    let mut client = Client::of(open(connector));
    client.says(HELLO).await;
    client.hears(&refused(1)).await;
}

async fn joe_alone(attempt: Attempt) -> Result<Identity, BoxError> {
    match attempt.credentials.username.to_str() {
        Some("joe") if attempt.credentials.password.as_bytes() == b"secret" => {
            Ok(Identity::new("joe"))
        }
        _ => Err("not joe".into()),
    }
}

#[tokio::test]
async fn a_check_of_one_s_own_decides_who_is_let_in() {
    let proxy = guarded(
        AuthenticateLayer::password(service_fn(joe_alone)),
        service_fn(target),
    );

    let mut joe = Client::of(proxy.clone());
    joe.says(PASSWORD).await;
    joe.hears(b"\x05\x02\x01\x00\x05\x00\x00\x01").await;

    let mut jim = Client::of(proxy);
    jim.says(b"\x05\x01\x02\x01\x03jim\x06secret").await;
    jim.hears(b"\x05\x02\x01\x01").await;
    jim.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn tower_s_middleware_goes_around_a_check_and_fails_in_the_method_s_words() {
    let stuck = |_: Attempt| pending::<Result<Identity, Infallible>>();
    let timeout = ServiceBuilder::new().timeout(SECOND).service_fn(stuck);
    let mut client = Client::of(guarded(
        AuthenticateLayer::password(timeout),
        service_fn(target),
    ));
    client.says(PASSWORD).await;
    client.hears(b"\x05\x02\x01\x01").await;

    let shed = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service_fn(stuck);
    let proxy = guarded(AuthenticateLayer::password(shed), service_fn(target));
    let (mut first, mut second) = (Client::of(proxy.clone()), Client::of(proxy));
    first.says(PASSWORD).await;
    first.hears(b"\x05\x02").await;
    sleep(SECOND).await;
    second.says(PASSWORD).await;
    second.hears(b"\x05\x02\x01\x01").await;

    let limited = ServiceBuilder::new()
        .buffer(16)
        .rate_limit(1, 5 * SECOND)
        .service_fn(joe_alone);
    let proxy = guarded(AuthenticateLayer::password(limited), service_fn(target));
    let (mut first, mut second) = (Client::of(proxy.clone()), Client::of(proxy));
    let began = Instant::now();
    first.says(PASSWORD).await;
    first.hears(b"\x05\x02\x01\x00").await;
    second.says(PASSWORD).await;
    second.hears(b"\x05\x02\x01\x00").await;
    assert!(began.elapsed() >= 5 * SECOND);
}

/// A method of the private range: the client says a word.
struct Password(&'static [u8]);

#[async_trait]
impl AuthMethod for Password {
    fn code(&self) -> Method {
        Method::PRIVATE_FIRST
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let mut word = vec![0; self.0.len()];
        client.read_exact(&mut word).await?;
        if word != self.0 {
            client.write_all(b"no").await?;
            return Err("another word".into());
        }
        client.write_all(b"ok").await?;
        Ok(Identity::new("friend").into())
    }
}

#[tokio::test]
async fn a_method_of_one_s_own_negotiates_on_the_stream() {
    let proxy = guarded(
        AuthenticateLayer::new(Password(b"mellon")),
        service_fn(target),
    );

    let mut friend = Client::of(proxy.clone());
    friend.says(b"\x05\x01\x80mellon").await;
    friend
        .says(b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50")
        .await;
    friend.hears(b"\x05\x80ok\x05\x00").await;

    let mut foe = Client::of(proxy);
    foe.says(b"\x05\x01\x80melons").await;
    foe.hears(b"\x05\x80no").await;
    foe.hears_the_end().await;
}

/// Counts what passes, and notes it in the session: it stands anywhere.
#[derive(Clone, Default)]
struct CountLayer(Arc<AtomicUsize>);

#[derive(Clone, Copy, PartialEq)]
struct Number(usize);

#[derive(Clone)]
struct Count<S> {
    count: Arc<AtomicUsize>,
    inner: S,
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        let count = Arc::clone(&self.0);
        Count { count, inner }
    }
}

impl<T: HasSession, S: Service<T>> Service<T> for Count<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut passing: T) -> S::Future {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        passing.session_mut().extensions.insert(Number(number));
        self.inner.call(passing)
    }
}

#[tokio::test]
async fn one_layer_stands_before_every_stage_and_around_every_work() {
    let layer = CountLayer::default();
    let resolver =
        |_: Request<DomainName>| async { Ok::<_, Infallible>([IpAddr::from([192, 0, 2, 1])]) };
    let check = |request: Request<Pinned>| async move {
        // Passed so far: three stages, the look-up, and this.
        match request.session.extensions.get::<Number>() {
            Some(Number(5)) => Ok(request),
            _ => Err("another number"),
        }
    };
    let connector = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(ResolveLayer::new(service_fn(resolver)))
        .layer(layer.clone())
        .layer(AuthorizeLayer::new(service_fn(check)))
        .layer(layer.clone())
        .service_fn(target::<Pinned>);
    let proxy = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(HandshakeLayer::new())
        .layer(layer.clone())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(layer.clone())
        .layer(ConnectLayer::new(connector))
        .layer(layer.clone())
        .service(Relay::new());
    let mut client = Client::of(proxy);

    client.says(HELLO).await;

    client.hears(GRANTED).await;
    client.hears(b"hello").await;
    assert_eq!(layer.0.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn a_layer_around_a_work_refuses_with_a_reply() {
    let connector = ServiceBuilder::new()
        .filter(|request: Request| match request.target.port {
            80 => Err(Refusal::not_allowed("port 80")),
            _ => Ok(request),
        })
        .service_fn(target);
    let mut client = Client::of(open(connector));

    client.says(HELLO).await;

    client.hears(&refused(2)).await;
    client.hears_the_end().await;
}

#[tokio::test]
async fn a_layer_between_the_stages_refuses_with_a_close() {
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .filter(|_| Err::<socks_tower::Greeted<DuplexStream>, _>("not today"))
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(service_fn(target)))
        .service(Relay::new());
    let mut client = Client::of(proxy);

    client.says(HELLO).await;

    client.hears_the_end().await;
    let error = client.session.await.unwrap().unwrap_err();
    let error = socks_tower::Error::from_box(error);
    assert_eq!(error.kind(), socks_tower::ErrorKind::Other);
}

#[tokio::test]
async fn the_hook_has_the_last_word_on_a_reply() {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(service_fn(
            |_: Request<DomainName>| async { Ok::<_, Infallible>([IpAddr::from([127, 0, 0, 1])]) },
        )))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service_fn(target::<Pinned>);
    let hide = |error: &socks_tower::Error| {
        let denied = error.kind() == socks_tower::ErrorKind::Denied;
        denied.then_some(ReplyCode::HOST_UNREACHABLE)
    };
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new().with_reply(hide))
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let mut client = Client::of(proxy);

    client.says(HELLO).await;

    client.hears(&refused(4)).await;
}
