//! What an observer is told on the way, in order, and how long it took.

use std::{
    convert::Infallible,
    future::pending,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer, DomainName, HandshakeLayer, NoAuth,
    Pinned, Proxy, Relay, Request, ResolveLayer,
    middleware::{
        ObserveLayer, Observer,
        observe::{CarriedReport, Record, StageReport, Summary},
    },
};
use tokio::{
    io::{DuplexStream, duplex},
    time::sleep,
};
use tower::{ServiceBuilder, service_fn};

use crate::proxy::serve_once;

const SECOND: Duration = Duration::from_secs(1);

/// Writes down each call.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn write(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Notes {
    fn accepted(&self, record: &Record) {
        assert!(record.protocol.is_none());
        self.write("accepted".to_owned());
    }

    fn stage(&self, record: &Record, report: &StageReport) {
        let (stage, took) = (report.stage, report.took);
        assert!(record.took(stage).unwrap() >= took);
        let how = if report.failed { "failed" } else { "done" };
        self.write(format!("{stage} {how} in {took:?}"));
    }

    fn requested(&self, record: &Record) {
        self.write(format!("requested {}", record.target.as_ref().unwrap()));
    }

    fn established(&self, record: &Record) {
        assert!(record.established);
        self.write("established".to_owned());
    }

    fn carried(&self, record: &Record, report: &CarriedReport) {
        assert!(record.established);
        self.write(format!("{} {}", report.bytes, report.direction));
    }

    fn ended(&self, summary: &Summary<'_>) {
        let duration = summary.duration;
        self.write(format!("{} after {duration:?}", summary.outcome.as_str()));
    }
}

/// A second for the look-up, two for the rules, four for the dial; the target
/// gives everything back.
fn slow() -> impl Proxy<DuplexStream> {
    let resolve = |_: Request<DomainName>| async {
        sleep(SECOND).await;
        Ok::<_, Infallible>([IpAddr::from([192, 0, 2, 1])])
    };
    let authorize = |request: Request<Pinned>| async {
        sleep(2 * SECOND).await;
        Ok::<_, Infallible>(request)
    };
    let dial = |_: Request<Pinned>| async {
        sleep(4 * SECOND).await;
        let (near, far) = duplex(64);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            tokio::io::copy(&mut read, &mut write).await
        });
        Ok::<_, Infallible>(near)
    };
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(
            ServiceBuilder::new()
                .layer(ResolveLayer::new(service_fn(resolve)))
                .layer(AuthorizeLayer::new(service_fn(authorize)))
                .service(service_fn(dial)),
        ))
        .service(Relay::new())
}

const TO_A_NAME: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x09some.test\x00\x50";

#[tokio::test(start_paused = true)]
async fn the_calls_come_in_order_with_what_each_stage_took() {
    let notes = Notes::default();
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(notes.clone()))
        .service(slow());

    serve_once(stack, &[TO_A_NAME, b"hello"].concat())
        .await
        .unwrap();

    let expected = [
        "accepted",
        "handshake done in 0ns",
        "authenticate done in 0ns",
        "requested some.test:80",
        "resolve done in 1s",
        "authorize done in 2s",
        "connect done in 7s",
        "established",
        "5 up",
        "5 down",
        "closed after 7s",
    ];
    assert_eq!(notes.read(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_not_looked_up() {
    let notes = Notes::default();
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(notes.clone()))
        .service(slow());

    let words = b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00";
    serve_once(stack, words).await.unwrap();

    let resolved = |note: &String| note.starts_with("resolve");
    assert!(!notes.read().iter().any(resolved));
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_a_time_out_gives_up_has_failed() {
    let notes = Notes::default();
    let never = |_: Request<DomainName>| pending::<Result<[IpAddr; 1], Infallible>>();
    let dial = |_: Request<Pinned>| async { Ok::<_, Infallible>(duplex(1).0) };
    let connector = ServiceBuilder::new()
        .timeout(3 * SECOND)
        .layer(ResolveLayer::new(service_fn(never)))
        .service(service_fn(dial));
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(notes.clone()))
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    serve_once(stack, TO_A_NAME).await.unwrap_err();

    let notes = notes.read();
    for note in ["resolve failed in 3s", "connect failed in 3s"] {
        assert!(notes.iter().any(|had| had == note), "{notes:?}");
    }
    assert_eq!(notes.last().unwrap(), "connect after 3s");
}

#[tokio::test(start_paused = true)]
async fn several_observers_are_each_told_all() {
    let (outer, inner) = (Notes::default(), Notes::default());
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(outer.clone()))
        .layer(ObserveLayer::new(inner.clone()))
        .service(slow());

    serve_once(stack, &[TO_A_NAME, b"hello"].concat())
        .await
        .unwrap();

    assert_eq!(outer.read().len(), 11);
    assert_eq!(outer.read(), inner.read());
}

#[tokio::test]
async fn what_fails_between_two_observers_is_told_to_the_outer_one_alone() {
    let (outer, inner) = (Notes::default(), Notes::default());
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(outer.clone()))
        .layer(tower::load_shed::LoadShedLayer::new())
        .concurrency_limit(0)
        .layer(ObserveLayer::new(inner.clone()))
        .service(slow());

    let error = serve_once(stack, TO_A_NAME).await.unwrap_err();

    // An error of others is handed on as it was.
    let error = error.downcast_ref::<socks_tower::Error>().unwrap();
    let theirs = error.get_ref().unwrap();
    assert!(theirs.is::<tower::load_shed::error::Overloaded>());
    assert_eq!(error.to_string(), theirs.to_string());
    let notes = outer.read();
    assert_eq!(notes[0], "accepted");
    assert!(notes[1].starts_with("other after"), "{notes:?}");
    assert!(inner.read().is_empty());
}

#[tokio::test]
async fn an_error_is_told_with_its_causes_on_one_line() {
    /// Keeps the last failure.
    #[derive(Clone, Default)]
    struct Last(Arc<Mutex<String>>);

    impl Observer for Last {
        fn ended(&self, summary: &Summary<'_>) {
            let failure = summary.outcome.failure().unwrap();
            *self.0.lock().unwrap() = failure.to_string();
        }
    }

    let last = Last::default();
    let refuse = |_: Request| async { Err::<DuplexStream, BoxError>("no\nroot logged in".into()) };
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(last.clone()))
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(service_fn(refuse)))
        .service(Relay::new());

    serve_once(stack, TO_A_NAME).await.unwrap_err();

    let expected = r"the target could not be reached: no\nroot logged in";
    assert_eq!(*last.0.lock().unwrap(), expected);
}
