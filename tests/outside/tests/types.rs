//! Unit tests of one's own parts, and types that have to fit.

use std::{convert::Infallible, sync::Mutex, time::Duration};

use socks_tower::{
    Admitted, Attempt, AuthMethod, AuthenticateLayer, BoxError, ByCommand, ClientStream,
    ConnectLayer, Credentials, Direction, Greeted, HandshakeLayer, HttpConnectLayer, Identity,
    Method, Negotiation, NoAuth, Relay, Request, Requested, ResolveLayer, Session, Socks, Socks5,
    Stream, SystemResolver, TcpConnector, Transfer, async_trait,
    middleware::{
        LiveLimitLayer, Observer,
        observe::{CarriedReport, Outcome, Record, StageKind, StageReport, Summary},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

/// The client sends one byte; 42 is right.
struct Magic;

#[async_trait]
impl AuthMethod for Magic {
    fn code(&self) -> Method {
        Method(0x80)
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        match client.read_u8().await? {
            42 => Ok(Identity::from("magician").into()),
            _ => Err("wrong byte".into()),
        }
    }
}

#[tokio::test]
async fn a_method_is_tested_by_itself() {
    let session = Session::new();
    for (byte, is_right) in [(42, true), (43, false)] {
        let (mut client, mut io) = duplex(1);
        client.write_u8(byte).await.unwrap();
        let mut buffered = Vec::new();
        let mut negotiation = Negotiation::new(&session, &mut buffered, &mut io);
        let admitted = Magic.authenticate(&mut negotiation).await;
        assert_eq!(admitted.is_ok(), is_right);
    }
}

#[tokio::test]
async fn a_layer_behind_the_greeting_is_tested_by_itself() {
    let refuse = service_fn(|greeted: Greeted<tokio::io::DuplexStream>| async move {
        match greeted.session.protocol {
            Some(protocol) => Ok(protocol.to_string()),
            None => Err("nothing is known"),
        }
    });
    let greeted = Greeted::offering(duplex(1).0, Session::new(), &[Method::NONE]).unwrap();
    assert_eq!(refuse.oneshot(greeted).await.unwrap(), "socks5");
}

/// Adds bytes up, and says what was slow.
#[derive(Default)]
struct Sums(Mutex<(u64, Vec<String>)>);

impl Observer for Sums {
    fn stage(&self, record: &Record, report: &StageReport) {
        if report.took > Duration::from_secs(1) {
            let note = format!("{}: {}", record.id, report.stage);
            self.0.lock().unwrap().1.push(note);
        }
    }

    fn carried(&self, _: &Record, report: &CarriedReport) {
        self.0.lock().unwrap().0 += report.bytes;
    }

    fn ended(&self, summary: &Summary<'_>) {
        let note = format!("{}: {}", summary.record.id, summary.outcome.as_str());
        self.0.lock().unwrap().1.push(note);
    }
}

#[test]
fn an_observer_is_tested_by_itself() {
    let session = Session::new();
    let record = Record::new(&session);
    let sums = Sums::default();
    sums.stage(
        &record,
        &StageReport::new(StageKind::Connect, Duration::from_secs(2)),
    );
    sums.carried(&record, &CarriedReport::new(Direction::Up, 3));
    sums.carried(&record, &CarriedReport::new(Direction::Down, 4));
    sums.ended(&Summary::new(&record, Outcome::Cut));
    let (bytes, notes) = sums.0.into_inner().unwrap();
    let id = session.id();
    assert_eq!(bytes, 7);
    assert_eq!(notes, [format!("{id}: connect"), format!("{id}: cut")]);
}

fn is_a_proxy(_: impl socks_tower::Proxy<TcpStream>) {}

#[test]
fn a_limit_is_optional_around_a_proxy() {
    let limit = Some(LiveLimitLayer::per_client(10));
    is_a_proxy(
        ServiceBuilder::new()
            .option_layer(limit)
            .service(Socks::new()),
    );
}

#[tokio::test]
async fn a_verifier_may_be_a_box_that_is_not_sync() {
    let check = |attempt: Attempt| async move {
        match attempt.credentials.username.to_str() {
            Some("joe") => Ok(Identity::new("joe")),
            _ => Err("who?"),
        }
    };
    let boxed = BoxCloneService::new(service_fn(check));
    let attempt = Attempt::new(Session::new(), Credentials::new("joe", "").unwrap());
    assert_eq!(
        boxed.clone().oneshot(attempt).await.unwrap().as_ref(),
        "joe"
    );
    let authenticate = AuthenticateLayer::password(boxed.clone());
    is_a_proxy(Socks5::new().with_auth(authenticate.clone()));
    is_a_proxy(
        ServiceBuilder::new()
            .layer(HttpConnectLayer::password(boxed).or((HandshakeLayer::new(), authenticate)))
            .service(to_the_target()),
    );
}

type TcpRequested = Requested<ClientStream<TcpStream>>;

fn to_the_target() -> impl socks_tower::Stage<TcpRequested, Response = Transfer, Future: Send> {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .service(TcpConnector::new());
    ServiceBuilder::new()
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

#[test]
fn a_command_s_stack_may_be_a_box_that_is_not_sync() {
    let connect = BoxCloneService::new(to_the_target());
    is_a_proxy(
        ServiceBuilder::new()
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .service(ByCommand::new().connect(connect)),
    );
}

/// What it borrows lives across an await, so it must be `Sync`.
async fn look<Io: Stream + Sync>(requested: &Requested<Io>) -> Result<u16, Infallible> {
    tokio::task::yield_now().await;
    Ok(requested.request.target.port)
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn a_request_is_borrowed_across_an_await() {
    let client = socks_tower::Inbound::new(duplex(1).0, Vec::new(), socks_tower::Version::Socks5);
    let target = "example.com:443".parse().unwrap();
    let request = Request::new(Session::new(), socks_tower::Command::CONNECT, target);
    let requested = Requested::new(client, request);
    assert_eq!(is_send(look(&requested)).await.unwrap(), 443);
}
