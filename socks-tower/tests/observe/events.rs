//! What stands in the log.

use std::{
    io,
    sync::{Arc, Mutex},
};

use socks_tower::middleware::{ObserveLayer, Sessions};
use tokio::io::AsyncWriteExt;
use tower::ServiceBuilder;
use tracing::subscriber::{DefaultGuard, set_default};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    access_log::{HOSTILE, gullible},
    proxy::{Keep, Proxy, Way, all_of, listen, tunnel},
};

/// A log in memory, one object a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Logs what `filter` lets through, on this thread, as long as the guard
    /// lives.
    fn at(filter: &str) -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(log.clone())
            .finish();
        (log, set_default(subscriber))
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The fields of the events with the target `socks::access`.
    fn accesses(&self) -> Vec<serde_json::Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["target"] == "socks::access");
        lines.iter_mut().map(|line| line["fields"].take()).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_connection_is_one_event_whatever_becomes_of_it() {
    let (log, _guard) = Log::at("socks::access=info");
    let (target, addr) = listen().await;
    let mut proxy = Proxy::start().await;
    let ways = Way::all(addr);
    // Ended, and cut.
    for end in [true, false] {
        for way in &ways {
            let (client, far) = tunnel(&proxy, way, &target).await;
            if end {
                drop((client, far));
                proxy.told().await;
            } else {
                std::mem::forget((client, far));
            }
        }
    }
    for words in [
        &b"\x16"[..],
        b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50",
        b"\x05\x01\x00\x05\x01\x00\x03\x0apanic.test\x00\x50",
    ] {
        let mut client = proxy.client(words).await;
        client.shutdown().await.unwrap();
        all_of(&mut client).await;
        proxy.told().await;
    }
    proxy.stop().await;

    let events = log.accesses();
    assert_eq!(events.len(), 13, "{events:#?}");
    // Nothing else passes that filter.
    assert_eq!(log.lines().len(), 13);
    let ends = |end: &str| events.iter().filter(|event| event["end"] == end).count();
    let types = |kind: &str| {
        let of_kind = |event: &&serde_json::Value| event["error.type"] == kind;
        events.iter().filter(of_kind).count()
    };
    assert_eq!(
        ends("closed") + ends("client_reset") + ends("upstream_reset"),
        5
    );
    assert_eq!(types("cut"), 5);
    assert_eq!(
        [types("protocol"), types("denied"), types("panicked")],
        [1; 3]
    );
}

#[tokio::test]
async fn the_event_has_opentelemetry_s_names() {
    let (log, _guard) = Log::at("socks::access=info");
    let (target, addr) = listen().await;
    let mut proxy = Proxy::start().await;
    let (mut client, mut far) = tunnel(&proxy, &Way::all(addr)[3], &target).await;
    let client_port = client.local_addr().unwrap().port();
    let ports = (proxy.addr.port(), addr.port());
    client.shutdown().await.unwrap();
    all_of(&mut far).await;
    drop(far);
    proxy.told().await;
    proxy.stop().await;

    let mut events = log.accesses();
    let mut event = events.remove(0);
    let fields = event.as_object_mut().unwrap();
    assert!(fields.remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    assert!(fields.remove("session.id").unwrap().as_u64().unwrap() > 0);
    let expected = serde_json::json!({
        "message": "session ended",
        "client.address": "127.0.0.1",
        "client.port": client_port,
        "network.local.address": "127.0.0.1",
        "network.local.port": ports.0,
        "network.protocol.name": "socks",
        "network.protocol.version": "5",
        "user.name": "joe",
        "socks.method": "password",
        "socks.command": "connect",
        "server.address": "target.test",
        "server.port": ports.1,
        "socks.upstream.address": "127.0.0.1",
        "socks.upstream.port": ports.1,
        "socks.reply": 0,
        "bytes_up": 5,
        "bytes_down": 7,
        "end": "closed",
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn the_event_says_each_thing_once_and_stands_in_the_span_of_its_server() {
    let (log, _guard) = Log::at("info");
    let (target, addr) = listen().await;
    let listener = tracing::info_span!("listener", port = 1080).entered();
    let mut proxy = Proxy::start().await;
    drop(listener);
    let (mut client, mut far) = tunnel(&proxy, &Way::all(addr)[0], &target).await;
    client.shutdown().await.unwrap();
    all_of(&mut far).await;
    drop(far);
    proxy.told().await;
    proxy.stop().await;

    let mut lines = log.lines();
    lines.retain(|line| line["target"] == "socks::access");
    let [line] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(
        line["spans"],
        serde_json::json!([{ "name": "listener", "port": 1080 }])
    );
    let fields = line["fields"].as_object().unwrap();
    assert!(!fields.contains_key("network.peer.port"), "{line}");
    // The target was given by its address.
    assert!(!fields.contains_key("socks.upstream.port"), "{line}");
}

#[tokio::test]
async fn a_refusal_s_event_has_the_error_and_no_bytes() {
    let (log, _guard) = Log::at("socks::access=info");
    let mut proxy = Proxy::start().await;
    let words = b"\x04\x01\x00\x50\xc0\x00\x02\x07ro\x1b[31mot\n\x00";
    let mut client = proxy.client(words).await;
    client.shutdown().await.unwrap();
    all_of(&mut client).await;
    proxy.told().await;

    let event = &log.accesses()[0];
    assert_eq!(event["error.type"], "denied");
    assert!(
        event["error"]
            .as_str()
            .unwrap()
            .starts_with("denied by a rule: ")
    );
    assert_eq!(event["socks.reply"], 2);
    assert_eq!(event["socks.user_id"], "ro\x1b[31mot\n");
    assert!(event["end"].is_null());
    assert!(event["bytes_up"].is_null());
}

#[tokio::test]
async fn an_event_within_a_stage_says_which_and_of_whose_connection() {
    let (log, _guard) = Log::at("socks_tower=debug,work=debug");
    let proxy = ServerOf::a_talkative_stack().await;
    let words = b"\x05\x01\x00\x05\x01\x00\x03\x09some.test\x00\x50";
    let mut client = proxy.client(words).await;
    client.shutdown().await.unwrap();
    all_of(&mut client).await;

    let lines = log.lines();
    let spans_at = |target: &str| {
        let event = lines
            .iter()
            .find(|line| line["fields"]["message"] == target);
        let spans = event.unwrap()["spans"].as_array().unwrap().clone();
        assert_eq!(spans[0]["client.address"], "127.0.0.1");
        let name = |span: serde_json::Value| span["name"].as_str().unwrap().to_owned();
        spans.into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(spans_at("verifying"), ["session", "authenticate"]);
    assert_eq!(spans_at("resolving"), ["session", "connect", "resolve"]);
    assert_eq!(spans_at("deciding"), ["session", "connect", "authorize"]);
    assert_eq!(spans_at("dialling"), ["session", "connect"]);
}

/// A server whose works say what they do.
struct ServerOf;

impl ServerOf {
    async fn a_talkative_stack() -> Proxy {
        use std::{convert::Infallible, net::IpAddr};

        use socks_tower::{
            Admitted, AuthMethod, AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer,
            DomainName, HandshakeLayer, Method, Negotiation, Pinned, Relay, Request, ResolveLayer,
        };
        use tower::{ServiceBuilder, service_fn};
        use tracing::debug;

        struct Talkative;

        #[async_trait::async_trait]
        impl AuthMethod for Talkative {
            fn code(&self) -> Method {
                Method::NONE
            }

            async fn authenticate(&self, _: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
                debug!(target: "work", "verifying");
                Ok(Admitted::anonymous())
            }
        }

        let resolve = |_: Request<DomainName>| async {
            debug!(target: "work", "resolving");
            Ok::<_, Infallible>([IpAddr::from([127, 0, 0, 1])])
        };
        let authorize = |request: Request<Pinned>| async {
            debug!(target: "work", "deciding");
            Ok::<_, Infallible>(request)
        };
        let dial = |_: Request<Pinned>| async {
            debug!(target: "work", "dialling");
            Err::<tokio::io::DuplexStream, _>("nowhere")
        };
        let stack = ServiceBuilder::new()
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(Talkative))
            .layer(ConnectLayer::new(
                ServiceBuilder::new()
                    .layer(ResolveLayer::new(service_fn(resolve)))
                    .layer(AuthorizeLayer::new(service_fn(authorize)))
                    .service(service_fn(dial)),
            ))
            .service(Relay::new());
        let (_, told) = tokio::sync::mpsc::unbounded_channel();
        Proxy::serve(stack, Sessions::new(), told).await
    }
}

#[tokio::test]
async fn an_event_gives_back_what_a_client_said_as_it_was() {
    let (log, _guard) = Log::at("info");
    let (keep, told) = Keep::new();
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(keep))
        .service(gullible());
    let mut proxy = Proxy::serve(stack, Sessions::new(), told).await;
    for name in HOSTILE {
        let words = [
            b"\x04\x01\x00\x50\xc0\x00\x02\x07",
            name.as_bytes(),
            b"\x00",
        ];
        let mut client = proxy.client(&words.concat()).await;
        all_of(&mut client).await;
        drop(client);
        proxy.told().await;
    }
    proxy.stop().await;

    let mut lines = log.lines();
    lines.retain(|line| line["target"] == "socks::access");
    assert_eq!(lines.len(), HOSTILE.len());
    for (line, name) in lines.iter().zip(HOSTILE) {
        let fields = &line["fields"];
        assert_eq!(fields["user.name"], name);
        assert!(fields["error"].as_str().unwrap().ends_with(name), "{line}");
        if !name.is_empty() {
            assert_eq!(fields["socks.user_id"], name);
        }
    }
}
