//! Requests that are refused, clients that are silent, and who hears of it.

use std::sync::{Arc, Mutex};

use socks_core::v5::ReplyCode;
use tokio::time::Instant;

use super::*;
use crate::session::{
    BoxError, DialError, ErrorKind,
    watch::{Observer, Summary, Watching},
};

const GET: &str = "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
const JOE: &str = "GET http://a/ HTTP/1.1\r\nHost: a\r\n\
                   Proxy-Authorization: Basic am9lOmdvb2Q=\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_shows_no_password_may_try_again() {
    let mut world = World::new(users());
    world.say(GET).await;
    let heard = until(&mut world.client, "password.\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 407 "), "{heard}");
    assert!(
        heard.contains("\r\nproxy-authenticate: Basic realm=\"proxy\""),
        "{heard}"
    );
    assert!(
        !heard.to_lowercase().contains("connection: close"),
        "{heard}"
    );
    assert!(world.is_alone());
    world.say(JOE).await;
    let (_, mut origin) = world.origin().await;
    assert!(!head(&mut origin).await.contains("Basic"));
}

#[tokio::test(start_paused = true)]
async fn who_never_shows_one_has_not_authenticated() {
    let mut world = World::new(users());
    world.say(GET).await;
    until(&mut world.client, "password.\r\n").await;
    drop(world.client);
    let error = soon(world.session).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
}

/// What a client hears of a connector that fails so, and of its next request.
async fn hears(method: &str, error: impl Fn() -> BoxError + Clone + Send + 'static) -> String {
    let (mut client, io) = duplex(ROOM);
    let connector = service_fn(move |_: Request| {
        let error = error();
        async { Err::<DuplexStream, _>(error) }
    });
    let layer = HttpConnectLayer::open();
    let layer = layer
        .with_reply(|error| (error.kind() == ErrorKind::Other).then_some(ReplyCode::SUCCEEDED));
    tokio::spawn(serve(HttpForwardLayer::new(layer), connector, io));
    let request = format!("{method} http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    client
        .write_all(request.repeat(2).as_bytes())
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    rest(&mut client).await
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_in_http_s_words_and_keeps_the_connection() {
    let dial = |kind: std::io::ErrorKind| move || DialError::from(kind).into();
    let kind = |kind: ErrorKind| move || Error::new(kind, "no").into();
    for (heard, status) in [
        (
            hears("PUT", dial(std::io::ErrorKind::ConnectionRefused)).await,
            "502",
        ),
        (hears("PUT", kind(ErrorKind::Resolve)).await, "502"),
        (
            hears("PUT", dial(std::io::ErrorKind::TimedOut)).await,
            "504",
        ),
        (hears("PUT", kind(ErrorKind::Denied)).await, "403"),
        (hears("PUT", kind(ErrorKind::Limited)).await, "429"),
        (hears("PUT", kind(ErrorKind::Other)).await, "502"),
        (hears("HEAD", kind(ErrorKind::Denied)).await, "403"),
    ] {
        let line = format!("HTTP/1.1 {status} ");
        assert!(heard.starts_with(&line), "{heard}");
        assert_eq!(heard.matches(&line).count(), 2, "{heard}");
    }
    let head = hears("HEAD", kind(ErrorKind::Denied)).await;
    assert!(!head.contains("The proxy"), "{head}");
    let later = || Error::new(ErrorKind::Limited, "x").with_retry_after(Duration::from_secs(3));
    let later = hears("GET", move || later().into()).await;
    assert!(later.contains("\r\nretry-after: 3\r\n"), "{later}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection() {
    let layer = || open().with_idle_timeout(Duration::from_secs(65));
    // Before the first request, and amid one.
    for begun in ["", "GET", "GET http://a/ HTTP/1.1\r\nHost: a\r\n"] {
        let mut world = World::new(layer());
        let began = Instant::now();
        world.say(begun).await;
        let heard = world.rest().await;
        assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
        assert_eq!(began.elapsed(), Duration::from_secs(10), "{begun:?}");
    }
    // Between two, without a word, and amid the second.
    for (begun, seconds) in [("", 65), ("G", 10)] {
        let mut world = World::new(layer());
        world.say(GET).await;
        let (_, mut origin) = world.origin().await;
        head(&mut origin).await;
        origin
            .write_all(b"HTTP/1.1 204 None\r\n\r\n")
            .await
            .unwrap();
        head(&mut world.client).await;
        let began = Instant::now();
        world.say(begun).await;
        let heard = world.rest().await;
        assert_eq!(
            heard.starts_with("HTTP/1.1 408 "),
            !begun.is_empty(),
            "{heard}"
        );
        assert_eq!(began.elapsed(), Duration::from_secs(seconds), "{begun:?}");
    }
}

/// Notes what each session came to.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn ended(&self, summary: &Summary<'_>) {
        let target = summary.record.target.as_ref().map(ToString::to_string);
        self.0.lock().unwrap().push(format!(
            "{} {} {} {}",
            target.unwrap_or_default(),
            summary.outcome.as_str(),
            summary.up,
            summary.down
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn each_tunnel_is_a_session_and_the_first_is_the_client_s() {
    let notes = Arc::new(Notes::default());
    let observer: Arc<dyn Observer> = Arc::clone(&notes) as _;
    let (found, mut origins) = unbounded_channel();
    let connector = service_fn(move |request: Request| {
        let (near, far) = duplex(ROOM);
        found.send(far).unwrap();
        let denied = request.target.to_string() == "c:80";
        async move {
            match denied {
                true => Err(Error::new(ErrorKind::Denied, "no")),
                false => Ok(near),
            }
        }
    });
    let (mut client, io) = duplex(ROOM);
    let mut accepted = accepted(io);
    let watching = Watching::begin(&observer, &mut accepted);
    let stack = ConnectLayer::new(connector).layer(Relay::new());
    let session = tokio::spawn(open().layer(stack).call(accepted));
    let mut lens = Vec::new();
    for host in ["a", "b", "c"] {
        let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut origin = soon(origins.recv()).await.unwrap();
        if host != "c" {
            lens.push(head(&mut origin).await.len());
            origin
                .write_all(b"HTTP/1.1 204 None\r\n\r\n")
                .await
                .unwrap();
        }
        head(&mut client).await;
    }
    drop(client);
    let transfer = soon(session).await.unwrap();
    watching.ended(transfer.as_ref());
    let mut told = notes.0.lock().unwrap().clone();
    told.sort();
    let down = "HTTP/1.1 204 None\r\n\r\n".len();
    assert_eq!(
        told,
        [
            format!("a:80 closed {} {down}", lens[0]),
            format!("b:80 closed {} {down}", lens[1]),
            "c:80 denied 0 0".to_owned(),
        ]
    );
}
