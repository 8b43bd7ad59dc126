//! What observers, and the logs and counts that are made of them, are told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tower::{
    ConnectLayer, Relay, Rules,
    middleware::{
        AccessLogLayer, ObserveLayer, Observer,
        observe::{Record, Summary},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::Instant,
};
use tower::ServiceBuilder;

use crate::world::{Asked, Client, Origin, WRONG, serve, soon};

/// Of a session that has ended: its number, where it led, what it carried, and how it
/// went.
type End = (u64, Option<SocketAddr>, u64, u64, &'static str);

struct Tell {
    began: Mutex<u64>,
    ends: mpsc::UnboundedSender<End>,
}

impl Observer for Tell {
    fn accepted(&self, _: &Record) {
        *self.began.lock().unwrap() += 1;
    }

    fn ended(&self, summary: &Summary<'_>) {
        let record = summary.record;
        let _ = self.ends.send((
            record.id.get(),
            record.upstream_addr,
            summary.up,
            summary.down,
            summary.outcome.as_str(),
        ));
    }
}

/// A proxy that is observed: where, by whom, and the lines of its log.
async fn observed(
    asked: &Asked,
) -> (
    SocketAddr,
    Arc<Tell>,
    mpsc::UnboundedReceiver<End>,
    Arc<Mutex<Vec<String>>>,
) {
    let (ends, told) = mpsc::unbounded_channel();
    let tell = Arc::new(Tell {
        began: Mutex::new(0),
        ends,
    });
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let log = AccessLogLayer::json(move |line| sink.lock().unwrap().push(line.to_owned()));
    let proxy = ServiceBuilder::new()
        .layer(ObserveLayer::new(Arc::clone(&tell)))
        .layer(log)
        .layer(asked.http())
        .layer(ConnectLayer::new(asked.connector()))
        .service(Relay::new());
    (serve(proxy).await, tell, told, lines)
}

#[tokio::test]
async fn each_request_is_a_session_with_its_own_bytes() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let (proxy, tell, mut told, lines) = observed(&asked).await;
    let mut client = Client::new(proxy).await;
    let mut ids = Vec::new();
    for len in [10, 2000, 300_000] {
        assert_eq!(client.get(&origin, &format!("/{len}")).await, (200, len));
        // As soon as it is answered: the client is still here.
        let (id, addr, up, down, how) = soon(told.recv()).await.unwrap();
        ids.push(id);
        assert_eq!(addr, Some(origin.addr));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").len();
        assert_eq!(down, (head + len) as u64);
        let request = format!("GET /{len} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.addr);
        assert_eq!(up, request.len() as u64);
        assert_eq!(how, "closed");
    }
    assert!(ids[0] < ids[1] && ids[1] < ids[2], "{ids:?}");
    assert_eq!(origin.came(), 1);
    // What is refused, here or behind, is a session too.
    client.ask_as(WRONG, &origin, "/1").await;
    assert_eq!(client.hear().await.0, 407);
    asked.rules.replace(Rules::new());
    assert_eq!(client.get(&origin, "/1").await.0, 403);
    client
        .io()
        .write_all(b"GET /1 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    client.io().flush().await.unwrap();
    assert_eq!(client.head().await.0, 400);
    for wrong in ["authentication", "denied", "protocol"] {
        assert_eq!(soon(told.recv()).await.unwrap().4, wrong);
    }
    drop(client);
    assert_eq!(*tell.began.lock().unwrap(), 6);
    let began = Instant::now();
    while lines.lock().unwrap().len() < 6 {
        assert!(began.elapsed() < Duration::from_secs(60), "{lines:?}");
        tokio::task::yield_now().await;
    }
    let lines = lines.lock().unwrap();
    for (line, id) in lines.iter().zip(&ids) {
        assert!(line.contains(&format!("\"session.id\":{id},")), "{line}");
    }
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_request_that_is_cut_short_is_told_as_that() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let (proxy, tell, mut told, _) = observed(&asked).await;
    let mut client = Client::new(proxy).await;
    assert_eq!(client.get(&origin, "/5").await, (200, 5));
    soon(told.recv()).await.unwrap();
    client.ask(&origin, "/hold").await;
    let began = Instant::now();
    while *tell.began.lock().unwrap() < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "it is not heard");
        tokio::task::yield_now().await;
    }
    client.vanish();
    let (_, addr, ..) = soon(told.recv()).await.unwrap();
    assert!(addr.is_none_or(|addr| addr == origin.addr));
}

#[tokio::test]
async fn who_asks_for_nothing_is_a_session_that_failed() {
    let asked = Asked::new();
    let (proxy, tell, mut told, _) = observed(&asked).await;
    let mut client = Client::new(proxy).await;
    client.io().write_all(b"GET ").await.unwrap();
    client.io().flush().await.unwrap();
    client.io().shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(client.io().read_to_end(&mut rest)).await;
    assert_eq!(soon(told.recv()).await.unwrap().4, "client_gone");
    assert_eq!(*tell.began.lock().unwrap(), 1);
}
