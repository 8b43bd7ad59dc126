//! Redis is slow, gone, full, read-only, or not Redis at all.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use socks_tests::{origin::Origin, origin::V4, redis::RedisServer};
use socks_tower::middleware::{
    Limited, Redis,
    redis::{Outage, RedisNumbers},
};
use tokio::{io::AsyncWriteExt, time::Instant};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    limits::{Node, link},
    until, until_up,
};

const DEADLINE: Duration = Duration::from_millis(100);
/// The machine is busy with other tests.
const SLACK: Duration = Duration::from_millis(150);

/// What the log says on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let of_redis = text.lines().filter(|line| line.contains("Redis"));
        of_redis.map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
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

/// All that are asked are answered within the deadline: by the node's own count, or by
/// refusal.
async fn assert_goes_on(node: &Node, outage: Outage, who: &str) {
    let mut held = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        match outage {
            Outage::Refuse => {
                let limited = node.refuses(who).await;
                assert!(matches!(limited, Limited::Unanswered { .. }), "{limited}");
            }
            _ => held.push(node.asks(who).await.unwrap()),
        }
        let took = began.elapsed();
        assert!(took < DEADLINE + SLACK, "{took:?}");
    }
    if outage == Outage::CountAlone {
        let limited = node.refuses(who).await;
        assert!(matches!(limited, Limited::Live { .. }), "{limited}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn redis_that_is_slow_or_gone_holds_nobody_beyond_the_deadline() {
    for outage in [Outage::CountAlone, Outage::Refuse] {
        let (log, _listening) = Log::listen();
        let mut server = RedisServer::start().await;
        let redis = link(&server, "a").with_deadline(DEADLINE).when_gone(outage);
        let node = Node::live(redis, 10).await;
        node.lets_in("joe", 10).await;

        server.pause();
        assert_goes_on(&node, outage, "ann").await;
        let numbers = node.redis.numbers();
        assert!(!numbers.is_up);
        assert!(numbers.unanswered >= 10, "{numbers:?}");
        server.resume();
        until_up(&node.redis, true).await;
        node.lets_in("joe", 10).await;
        assert_eq!(log.lines().len(), 2, "{:?}", log.lines());

        server.terminate().await;
        assert_goes_on(&node, outage, "ann").await;
        server.start_again().await;
        until_up(&node.redis, true).await;
        node.lets_in("joe", 10).await;

        let RedisNumbers { outages, is_up, .. } = node.redis.numbers();
        assert_eq!((outages, is_up), (2, true));
        let lines = log.lines();
        assert_eq!(lines.len(), 4, "{lines:?}");
        for (line, says) in lines.iter().zip(["not answer", "again"].iter().cycle()) {
            assert!(line.contains(says), "{line}");
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_takes_no_writes_is_gone_and_the_log_says_why() {
    for (breaks, mends, says) in [
        (
            ["config", "set", "maxmemory", "1"],
            ["config", "set", "maxmemory", "0"],
            "maxmemory",
        ),
        (
            ["replicaof", "127.0.0.1", "1", ""],
            ["replicaof", "no", "one", ""],
            "READONLY",
        ),
    ] {
        let (log, _listening) = Log::listen();
        let server = RedisServer::start().await;
        let ask = async |command: [&str; 4]| {
            let command = command.into_iter().filter(|word| !word.is_empty());
            server.ask(&command.collect::<Vec<_>>()).await
        };
        let node = Node::live(link(&server, "a").with_deadline(DEADLINE), 10).await;
        node.lets_in("joe", 10).await;

        ask(breaks).await;
        assert_goes_on(&node, Outage::CountAlone, "ann").await;
        assert!(!node.redis.numbers().is_up);
        let lines = log.lines();
        assert!(
            lines.len() == 1 && lines[0].to_uppercase().contains(&says.to_uppercase()),
            "{lines:?}"
        );

        ask(mends).await;
        until_up(&node.redis, true).await;
        assert_eq!(node.redis.numbers().outages, 1);
        assert_eq!(log.lines().len(), 2, "{:?}", log.lines());
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_wrong_password_is_said_and_a_right_one_serves() {
    let (log, _listening) = Log::listen();
    let server = RedisServer::start_with(&["--save", "", "--requirepass", "s3cret-word"]).await;
    for wrong in ["redis://", "redis://:no@"] {
        let url = server.url().replace("redis://", wrong);
        let redis = Redis::open(&url).unwrap().with_deadline(DEADLINE);
        let node = Node::live(redis, 10).await;
        assert_goes_on(&node, Outage::CountAlone, "joe").await;
        assert_eq!(node.redis.numbers().outages, 1);
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("NOAUTH"), "{lines:?}");
    assert!(lines[1].contains("WRONGPASS"), "{lines:?}");

    let url = server.url().replace("redis://", "redis://:s3cret-word@");
    let redis = Redis::open(&url).unwrap();
    assert!(!format!("{redis:?}").contains("s3cret"));
    let node = Node::live(redis, 1).await;
    assert!(node.redis.numbers().is_up);
    let _held = node.lets_in("joe", 1).await;
    node.refuses("joe").await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn redis_is_spoken_to_within_tls() {
    let mut server = RedisServer::prepare(&[
        "--save",
        "",
        "--port",
        "0",
        "--tls-cert-file",
        "{folder}/cert",
        "--tls-key-file",
        "{folder}/key",
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "secret",
        "--tls-port",
        "{port}",
    ])
    .await;
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(server.folder().join("cert"), cert.pem()).unwrap();
    std::fs::write(server.folder().join("key"), signing_key.serialize_pem()).unwrap();
    server.start_again().await;
    let config = |trusts: bool| {
        let mut roots = RootCertStore::empty();
        if trusts {
            roots.add(cert.der().clone()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    };
    let port = server.addr().port();
    let url = format!("rediss://:secret@localhost:{port}/0");

    let node = Node::live(Redis::open_tls(&url, config(true)).unwrap(), 1).await;
    assert!(node.redis.numbers().is_up);
    let _held = node.lets_in("joe", 1).await;
    node.refuses("joe").await;

    let (log, _listening) = Log::listen();
    for (url, config) in [
        (url.clone(), config(false)),
        (url.replace("localhost", "127.0.0.1"), config(true)),
    ] {
        let redis = Redis::open_tls(&url, config).unwrap();
        assert!(!redis.connect().await);
    }
    let lines = log.lines();
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.contains("certificate")),
        "{lines:?}"
    );
    assert!(Redis::open(&url).is_err(), "never without TLS");
}

#[tokio::test]
async fn what_is_no_redis_is_an_outage() {
    let says: [&'static [u8]; 5] = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x13\x37garbage",
        b"-ERR unknown command 'HELLO'\r\n",
        b"$99999999999999999999\r\n",
    ];
    for says in says {
        let server = Origin::serve(V4, move |mut stream| async move {
            let _ = stream.write_all(says).await;
        })
        .await;
        let url = format!("redis://127.0.0.1:{}", server.port());
        let redis = Redis::open(&url).unwrap().with_deadline(DEADLINE);
        let node = Node::live(redis, 10).await;
        assert!(!node.redis.numbers().is_up, "{says:?}");
        assert_goes_on(&node, Outage::CountAlone, "joe").await;
    }

    // One that says nothing at all, and one that is not there.
    let silent = Origin::serve(V4, |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    for port in [silent.port(), 1] {
        let redis = Redis::open(&format!("redis://127.0.0.1:{port}")).unwrap();
        let began = Instant::now();
        let redis = redis.with_deadline(DEADLINE);
        let node = Node::unconnected(redis, 10);
        node.lets_in("joe", 1).await;
        assert!(began.elapsed() < DEADLINE + SLACK);
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn one_byte_at_a_time_is_an_answer_too() {
    let server = RedisServer::start().await;
    let addr = server.addr();
    let slow = Origin::serve(V4, move |client| async move {
        let redis = tokio::net::TcpStream::connect(addr).await.unwrap();
        let (mut from, mut to) = redis.into_split();
        let (mut client_from, mut client_to) = client.into_split();
        let up = tokio::spawn(async move { tokio::io::copy(&mut client_from, &mut to).await });
        let mut byte = [0];
        while let Ok(1) = tokio::io::AsyncReadExt::read(&mut from, &mut byte).await {
            if client_to.write_all(&byte).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        up.abort();
    })
    .await;
    let redis = Redis::open(&format!("redis://127.0.0.1:{}", slow.port())).unwrap();
    let node = Node::live(redis.with_deadline(Duration::from_secs(10)), 2).await;
    let held = node.lets_in("joe", 2).await;
    node.refuses("joe").await;
    drop(held);
    until("no place is taken", async || node.asks("joe").await.is_ok()).await;
    assert_eq!(node.redis.numbers().unanswered, 0);
}
