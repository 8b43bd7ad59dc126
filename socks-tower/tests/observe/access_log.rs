//! The access log's lines, and that nobody forges one.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socks_tower::{
    Attempt, AuthenticateLayer, BoxError, ConnectLayer, Credentials, HandshakeLayer, Identity,
    NoAuth, Proxy as Stack, Relay, Request,
    middleware::{AccessLogLayer, ObserveLayer, Sessions},
    v4::UserId,
};
use tokio::{io::DuplexStream, net::TcpStream};
use tower::{ServiceBuilder, service_fn};

use crate::proxy::{Keep, Proxy, Way, all_of, listen, serve_once, stack, tunnel};

const PATIENCE: Duration = Duration::from_secs(20);

/// Lines, as a sink is given them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn sink(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let lines = Arc::clone(&self.0);
        move |line| lines.lock().unwrap().push(line.to_owned())
    }

    /// All so far, without the line feeds, of which there is one each.
    fn take(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        let without_end = |line: String| {
            let line = line.strip_suffix('\n').unwrap().to_owned();
            assert!(!line.contains(['\n', '\r']), "{line}");
            line
        };
        lines.into_iter().map(without_end).collect()
    }

    /// The one that is written, or is about to be.
    fn take_one(&self) -> String {
        let began = Instant::now();
        while self.0.lock().unwrap().is_empty() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        let lines = self.take();
        let [line] = &lines[..] else {
            panic!("not one line: {lines:?}")
        };
        line.clone()
    }
}

/// A proxy with a log in each form.
async fn logging() -> (Proxy, Lines, Lines) {
    let (keep, told) = Keep::new();
    let sessions = Sessions::new();
    let (three_proxy, json) = (Lines::default(), Lines::default());
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(keep))
        .layer(AccessLogLayer::three_proxy(three_proxy.sink()))
        .layer(AccessLogLayer::json(json.sink()))
        .service(stack(&sessions));
    let proxy = Proxy::serve(stack, sessions, told).await;
    (proxy, three_proxy, json)
}

#[tokio::test]
async fn a_line_of_3proxy_s_has_the_fields_in_its_order() {
    let (target, addr) = listen().await;
    let (mut proxy, lines, _) = logging().await;
    let port = proxy.addr.port();
    let services = ["SOCK4", "SOC45", "SOCK5", "SOCK5", "PROXY"];
    for (way, service) in Way::all(addr).iter().zip(services) {
        let (client, mut far) = tunnel(&proxy, way, &target).await;
        let from = client.local_addr().unwrap();
        drop(client);
        all_of(&mut far).await;
        drop(far);
        proxy.told().await;

        let line = lines.take_one();

        let (time, rest) = line.split_once(' ').unwrap();
        let (seconds, millis) = time.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000);
        assert_eq!(millis.len(), 3);
        let user = way.user.unwrap_or("-");
        let asked = &way.target;
        let expected = format!("{service}.{port} 00000 {user} {from} {addr} 5 7 0 CONNECT {asked}");
        assert_eq!(rest, expected);
    }
}

/// Sessions that break the protocol, each a line.
async fn sessions(layer: AccessLogLayer, count: usize) {
    for _ in 0..count {
        let stack = ServiceBuilder::new()
            .layer(layer.clone())
            .service(gullible());
        serve_once(stack, b"\x07").await.unwrap_err();
    }
}

#[tokio::test]
async fn a_sink_that_blocks_holds_up_no_session_and_what_is_dropped_is_counted() {
    // More than may wait, and the one that the sink has.
    const SESSIONS: usize = 4096 + 1 + 10;
    let (gate, opened) = mpsc::channel::<()>();
    let lines = Lines::default();
    let keep = lines.sink();
    let layer = AccessLogLayer::json(move |line| {
        // For ever, unless it is opened or gone.
        let _ = opened.recv();
        keep(line);
    });
    sessions(layer.clone(), SESSIONS).await;
    // The sink may not have had one yet when the queue was full.
    let dropped = layer.dropped_lines();
    assert!((10..=11).contains(&dropped), "{dropped}");
    drop(gate);
    drop(layer);
    let written = u64::try_from(lines.take().len()).unwrap();
    assert_eq!(written + dropped, u64::try_from(SESSIONS).unwrap());
}

#[tokio::test]
async fn the_end_of_a_stack_waits_for_its_lines() {
    let lines = Lines::default();
    let keep = lines.sink();
    let layer = AccessLogLayer::three_proxy(move |line| {
        thread::sleep(Duration::from_millis(20));
        keep(line);
    });
    sessions(layer, 10).await;
    assert_eq!(lines.take().len(), 10);
}

#[tokio::test]
async fn a_sink_that_panics_costs_its_line_and_no_other() {
    let lines = Lines::default();
    let keep = lines.sink();
    let mut calls = 0;
    let layer = AccessLogLayer::three_proxy(move |line| {
        calls += 1;
        assert_ne!(calls, 2, "a panic of the sink, as it should be");
        keep(line);
    });
    sessions(layer.clone(), 3).await;
    while layer.dropped_lines() == 0 {
        thread::yield_now();
    }
    drop(layer);
    assert_eq!(lines.take().len(), 2);
}

#[tokio::test]
async fn a_line_of_3proxy_s_tells_ends_apart_by_its_codes() {
    let (target, addr) = listen().await;
    let (mut proxy, lines, _) = logging().await;
    for (code, words) in [
        ("00401", &b"\x16\x03\x01"[..]),
        ("00004", b"\x05\x01\x02\x01\x03joe\x03bad"),
        (
            "00001",
            b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50",
        ),
        (
            "00013",
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01",
        ),
        (
            "00407",
            b"\x05\x01\x00\x05\x07\x00\x01\x7f\x00\x00\x01\x00\x01",
        ),
        (
            "00090",
            b"\x05\x01\x00\x05\x01\x00\x03\x0apanic.test\x00\x50",
        ),
    ] {
        let mut client = proxy.client(words).await;
        all_of(&mut client).await;
        drop(client);
        proxy.told().await;
        let line = lines.take_one();
        assert_eq!(line.split(' ').nth(2), Some(code), "{line}");
    }
    let _tunnel = tunnel(&proxy, &Way::all(addr)[0], &target).await;
    proxy.stop().await;
    let line = lines.take_one();
    let fields: Vec<_> = line.split(' ').collect();
    assert_eq!([fields[2], fields[6], fields[7]], ["00094", "5", "7"]);
}

#[tokio::test]
async fn a_line_of_json_has_the_event_s_fields() {
    let (target, addr) = listen().await;
    let (mut proxy, _, lines) = logging().await;
    let (client, mut far) = tunnel(&proxy, &Way::all(addr)[3], &target).await;
    let from = client.local_addr().unwrap();
    drop(client);
    all_of(&mut far).await;
    drop(far);
    proxy.told().await;

    let mut line: Value = serde_json::from_str(&lines.take_one()).unwrap();

    let members = line.as_object_mut().unwrap();
    let time = members.remove("time").unwrap().as_f64().unwrap();
    assert!(time > 1_700_000_000.0);
    assert!(members.remove("session.id").unwrap().as_u64().unwrap() > 0);
    assert!(members.remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    let expected = serde_json::json!({
        "network.peer.address": "127.0.0.1",
        "network.peer.port": from.port(),
        "client.address": "127.0.0.1",
        "client.port": from.port(),
        "network.local.address": "127.0.0.1",
        "network.local.port": proxy.addr.port(),
        "network.protocol.name": "socks",
        "network.protocol.version": "5",
        "user.name": "joe",
        "socks.method": "password",
        "socks.command": "connect",
        "server.address": "target.test",
        "server.port": addr.port(),
        "socks.upstream.address": "127.0.0.1",
        "socks.upstream.port": addr.port(),
        "socks.reply": 0,
        "bytes_up": 5,
        "bytes_down": 7,
        "end": "closed",
    });
    assert_eq!(line, expected);
}

/// What a client may call itself, to forge a line or a field.
pub(crate) const HOSTILE: [&str; 8] = [
    "joe\n1763833713.123 SOCK5.1080 00000 root 192.0.2.1:1 192.0.2.2:2 0 0 0 CONNECT x:1",
    "joe 192.0.2.1:1 198.51.100.1:443",
    "joe\",\"user.name\":\"root",
    "joe\u{202e}toor\u{2028}\u{85}\u{a0}root\u{3000}root",
    "joe\x1b[2K\rroot",
    "joe\t\x0b\x0c\x07\x7f",
    "-",
    "",
];

/// Calls whoever comes what it calls itself, and fails with the same.
pub(crate) fn gullible() -> impl Stack<DuplexStream> + Stack<TcpStream, Error: Send> + Clone + Send
{
    let by_password = |attempt: Attempt<Credentials>| async move {
        let name = attempt.credentials.username.to_str().unwrap().to_owned();
        Ok::<_, BoxError>(Identity::new(name))
    };
    let by_user_id = |attempt: Attempt<UserId>| async move {
        let name = String::from_utf8_lossy(attempt.credentials.as_bytes()).into_owned();
        Ok::<_, BoxError>(Identity::new(name))
    };
    let refuse = |request: Request| async move {
        let name = request.session.identity.unwrap();
        Err::<DuplexStream, BoxError>(name.as_str().into())
    };
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(
            AuthenticateLayer::password(service_fn(by_password))
                .with_user_ids(service_fn(by_user_id)),
        )
        .layer(ConnectLayer::new(service_fn(refuse)))
        .service(Relay::new())
}

#[tokio::test]
async fn no_name_and_no_error_forges_a_line_or_a_field() {
    for name in HOSTILE {
        let len = u8::try_from(name.len()).unwrap();
        let by_password = [
            b"\x05\x01\x02\x01",
            &[len][..],
            name.as_bytes(),
            b"\x01x\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50",
        ];
        let by_user_id = [
            &b"\x04\x01\x00\x50\xc0\x00\x02\x07"[..],
            name.as_bytes(),
            b"\x00",
        ];
        for words in [by_password.concat(), by_user_id.concat()] {
            let (three_proxy, json) = (Lines::default(), Lines::default());
            let stack = ServiceBuilder::new()
                .layer(AccessLogLayer::three_proxy(three_proxy.sink()))
                .layer(AccessLogLayer::json(json.sink()))
                .service(gullible());
            serve_once(stack, &words).await.unwrap_err();

            let line = three_proxy.take_one();
            let fields: Vec<_> = line.split(char::is_whitespace).collect();
            assert_eq!(fields.len(), 11, "{line}");
            assert_eq!(fields[9..], ["CONNECT", "192.0.2.7:80"]);
            assert_ne!(fields[3], "-", "{line}");
            assert!(!line.contains(|char: char| char.is_control()), "{line}");
            assert!(!line.contains(['\u{202e}', '\u{2028}']), "{line}");

            let line: Value = serde_json::from_str(&json.take_one()).unwrap();
            assert_eq!(line["user.name"], name);
            assert_eq!(line["error.type"], "connect");
            assert!(line["error"].as_str().unwrap().ends_with(name), "{line}");
            if words.starts_with(b"\x04") && !name.is_empty() {
                assert_eq!(line["socks.user_id"], name);
            }
        }
    }
}

#[tokio::test]
async fn no_target_forges_a_field() {
    for name in [
        "a\\.test",
        "a\"b.test",
        "xn--\u{202e}.test",
        "\u{200b}.test",
        "a,b.test",
    ] {
        let len = u8::try_from(name.len()).unwrap();
        let words = [
            b"\x05\x01\x00\x05\x01\x00\x03",
            &[len][..],
            name.as_bytes(),
            b"\x00\x50",
        ];
        let (three_proxy, json) = (Lines::default(), Lines::default());
        let refuse = |_: Request| async { Err::<TcpStream, _>("no") };
        let stack = ServiceBuilder::new()
            .layer(AccessLogLayer::three_proxy(three_proxy.sink()))
            .layer(AccessLogLayer::json(json.sink()))
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .layer(ConnectLayer::new(service_fn(refuse)))
            .service(Relay::new());
        serve_once(stack, &words.concat()).await.unwrap_err();

        let line = three_proxy.take_one();
        assert!(line.split(char::is_whitespace).count() <= 11, "{line}");
        assert!(!line.contains(['\u{202e}', '\u{200b}', '"']) || line.contains("\\\""));
        let line: Value = serde_json::from_str(&json.take_one()).unwrap();
        // The protocol refuses some of them before anybody asks.
        assert!(line["server.address"].is_null() || line["server.address"] == name);
    }
}

#[cfg(feature = "proxy-protocol")]
#[tokio::test]
async fn the_client_is_the_one_that_a_trusted_sender_names_and_no_other() {
    const NAMED: &str = "203.0.113.7";
    let (target, addr) = listen().await;
    for (trusted, is_named) in [("127.0.0.0/8", true), ("198.51.100.0/24", false)] {
        let (keep, told) = Keep::new();
        let sessions = Sessions::new();
        let (three_proxy, json) = (Lines::default(), Lines::default());
        let believing = socks_tower::front::proxy_protocol::ProxyProtocolLayer::new();
        let stack = ServiceBuilder::new()
            .layer(ObserveLayer::new(keep))
            .layer(AccessLogLayer::three_proxy(three_proxy.sink()))
            .layer(AccessLogLayer::json(json.sink()))
            .layer(believing.with_trusted(trusted.parse().unwrap()))
            .service(stack(&sessions));
        let mut proxy = Proxy::serve(stack, sessions, told).await;
        for way in Way::all(addr) {
            let header = format!("PROXY TCP4 {NAMED} 198.51.100.1 50123 1080\r\n");
            let words = [header.as_bytes(), &way.words].concat();
            let mut client = proxy.client(&words).await;
            if is_named {
                drop(target.accept().await.unwrap());
            } else {
                all_of(&mut client).await;
            }
            drop(client);
            proxy.told().await;

            let (line, object) = (three_proxy.take_one(), json.take_one());
            let object: Value = serde_json::from_str(&object).unwrap();
            assert_eq!(line.contains(NAMED), is_named, "{line}");
            let client = object["client.address"].as_str().unwrap();
            assert_eq!(client, if is_named { NAMED } else { "127.0.0.1" });
            assert_eq!(object["network.peer.address"], "127.0.0.1");
            assert_eq!(object.get("server.address").is_some(), is_named);
        }
    }
}
