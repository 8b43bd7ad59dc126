//! Lock-outs that two nodes share.

use std::{error::Error as _, num::NonZeroU32, time::Duration};

use socks_tests::{redis::RedisServer, wire::Wire};
use socks_tower::{
    Accepted, Attempt, BoxError, Credentials, Error, ErrorKind, Session, Users,
    middleware::{
        LockoutLayer, Redis,
        lockout::{LockedOut, Lockout},
        redis::Outage,
    },
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::{until, until_up};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A node's verifier, and what is around it.
struct Node {
    redis: Redis,
    layer: LockoutLayer,
    verifier: Lockout<Users>,
}

/// Five failures lock out, for an hour at first.
fn terms(layer: LockoutLayer) -> LockoutLayer {
    layer.with_first_lock(HOUR).with_longest_lock(24 * HOUR)
}

impl Node {
    async fn at(url: &str) -> Self {
        Self::with(Redis::open(url).unwrap(), |layer| layer).await
    }

    async fn with(redis: Redis, set: impl FnOnce(LockoutLayer) -> LockoutLayer) -> Self {
        let layer = terms(set(LockoutLayer::new().shared(&redis, "clients")));
        redis.connect().await;
        Self {
            redis,
            verifier: layer.layer(Users::new().with("joe", "good").unwrap()),
            layer,
        }
    }

    async fn says(&self, ip: &str, password: &str) -> Result<(), BoxError> {
        let session = from(ip);
        let credentials = Credentials::new("joe", password).unwrap();
        let attempt = Attempt::new(session, credentials);
        self.verifier.clone().oneshot(attempt).await.map(drop)
    }

    async fn fails(&self, ip: &str) {
        assert_eq!(remaining(self.says(ip, "evil").await), None);
    }

    /// For how long the client is locked out. The gate says the same.
    async fn locks(&self, ip: &str) -> Option<Duration> {
        let inner = service_fn(|_: Accepted<()>| async { Ok::<_, BoxError>(()) });
        let gate = self.layer.gate().layer(inner);
        let at_the_gate = gate.oneshot(Accepted::new((), from(ip))).await;
        remaining(at_the_gate.map_err(Into::into))
    }

    async fn until_locked(&self, ip: &str) -> Duration {
        until("a lock", async || self.locks(ip).await.is_some()).await;
        self.locks(ip).await.unwrap()
    }
}

fn from(ip: &str) -> Session {
    Session::new().with_client_addr((ip.parse::<std::net::IpAddr>().unwrap(), 1).into())
}

fn remaining(result: Result<(), BoxError>) -> Option<Duration> {
    let error = result.err()?;
    let locked_out = error.source()?.downcast_ref::<LockedOut>()?;
    Some(locked_out.remaining)
}

/// What Redis knows of each key: its failures.
async fn failures(server: &RedisServer) -> Vec<(String, u64)> {
    let records = server
        .ask(&["hgetall", "{socks}:lockout:clients:records"])
        .await;
    let lines: Vec<_> = records.lines().collect();
    let pairs = lines.chunks_exact(2).map(|pair| {
        let failures = pair[1].split(' ').next().unwrap();
        (pair[0].to_owned(), failures.parse().unwrap())
    });
    pairs.collect()
}

async fn until_failures(server: &RedisServer, expected: &[(&str, u64)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(key, n)| ((*key).to_owned(), *n))
        .collect();
    until("so many failures", async || {
        failures(server).await == expected
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn wrong_passwords_at_two_nodes_lock_out_at_both_and_no_good_client_is_asked_about() {
    let server = RedisServer::start().await;
    let [a, b] = [Node::at(&server.url()).await, Node::at(&server.url()).await];
    let client = "192.0.2.1";
    for node in [&a, &a, &a, &b, &b] {
        assert_eq!(node.locks(client).await, None);
        node.fails(client).await;
    }
    let fifth = Instant::now();
    for node in [&a, &b] {
        let remaining = node.until_locked(client).await;
        assert!(
            (HOUR - 5 * SECOND..=HOUR).contains(&remaining),
            "{remaining:?}"
        );
        let right = node.says(client, "good").await;
        assert!(self::remaining(right).is_some());
        assert_eq!(node.locks("192.0.2.2").await, None);
    }
    println!("locked out at both after {:?}", fifth.elapsed());

    let before = a.redis.numbers().questions;
    for _ in 0..100 {
        a.says("192.0.2.2", "good").await.unwrap();
    }
    let asked = a.redis.numbers().questions - before;
    assert!(asked < 10, "{asked}: its own of each second, at most");

    // A node that starts knows, too.
    let c = Node::at(&server.url()).await;
    assert!(c.locks(client).await.is_some());
    for key in server.ask(&["keys", "*"]).await.lines() {
        let ttl: i64 = server.ask(&["pttl", key]).await.parse().unwrap();
        assert!(ttl > 0, "{key}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_lock_doubles_a_success_clears_failures_but_no_lock_and_all_is_forgotten() {
    let server = RedisServer::start().await;
    let node = async || {
        let redis = Redis::open(&server.url()).unwrap();
        let two = NonZeroU32::new(2).unwrap();
        let mut node = Node::with(redis, |layer| layer).await;
        // What is set later holds, too.
        node.layer = (node.layer.with_max_failures(two))
            .with_first_lock(SECOND)
            .with_longest_lock(4 * SECOND)
            .with_forget_after(2 * SECOND);
        node.verifier = node.layer.layer(Users::new().with("joe", "good").unwrap());
        node
    };
    let [a, b] = [node().await, node().await];
    let client = "2001:db8::1";
    let key = "2001:db8::/64";

    // The failures of one node are cleared by a success at the other.
    a.fails(client).await;
    until_failures(&server, &[(key, 1)]).await;
    until("b to be told", async || {
        b.says("2001:db8::2", "good").await.unwrap();
        failures(&server).await.is_empty()
    })
    .await;
    a.fails(client).await;
    until_failures(&server, &[(key, 1)]).await;
    assert_eq!(a.locks(client).await, None);

    for (node, seconds) in [(&b, 1), (&a, 2), (&b, 4), (&a, 4)] {
        node.fails(client).await;
        for node in [&a, &b] {
            let lock = node.until_locked(client).await;
            let expected = seconds * SECOND;
            assert!((expected - SECOND..=expected).contains(&lock), "{lock:?}");
        }
        let late = failures(&server).await;
        b.says(client, "good").await.unwrap_err();
        assert_eq!(failures(&server).await, late, "a lock is not cleared");
        for node in [&a, &b] {
            until("the end of the lock", async || {
                node.locks(client).await.is_none()
            })
            .await;
        }
    }
    // A while later it is as if nothing had been.
    sleep(2 * SECOND).await;
    a.fails(client).await;
    until_failures(&server, &[(key, 1)]).await;
    assert_eq!(a.locks(client).await, None);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_that_was_cut_off_learns_all_locks_and_tells_its_own() {
    let server = RedisServer::start().await;
    let wire = Wire::to(server.addr()).await;
    let a = Node::at(&server.url()).await;
    let b = Node::at(&format!("redis://{}", wire.addr())).await;
    wire.cut();
    until_up(&b.redis, false).await;
    let fail = async |node: &Node, ip, times| {
        for _ in 0..times {
            node.fails(ip).await;
        }
    };
    fail(&a, "192.0.2.1", 5).await;
    // It counts alone meanwhile.
    fail(&b, "192.0.2.2", 5).await;
    assert!(b.locks("192.0.2.2").await.is_some());
    fail(&a, "192.0.2.3", 2).await;
    fail(&b, "192.0.2.3", 3).await;
    assert!(a.until_locked("192.0.2.1").await > HOUR - 5 * SECOND);
    for (node, ip) in [
        (&b, "192.0.2.1"),
        (&a, "192.0.2.2"),
        (&a, "192.0.2.3"),
        (&b, "192.0.2.3"),
    ] {
        assert_eq!(node.locks(ip).await, None);
    }

    wire.mend();
    until_up(&b.redis, true).await;
    for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert!(b.locks(ip).await.is_some(), "{ip} at b, once it is up");
        let remaining = a.until_locked(ip).await;
        assert!(
            (HOUR - 10 * SECOND..=HOUR).contains(&remaining),
            "{remaining:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn without_redis_a_node_counts_alone_or_refuses_and_is_back_by_itself() {
    let mut server = RedisServer::start_keeping().await;
    let node = async |outage| {
        let redis = Redis::open(&server.url()).unwrap().when_gone(outage);
        Node::with(redis, |layer| layer).await
    };
    let alone = node(Outage::CountAlone).await;
    let refusing = node(Outage::Refuse).await;
    for _ in 0..5 {
        alone.fails("192.0.2.1").await;
    }
    refusing.until_locked("192.0.2.1").await;

    server.terminate().await;
    until_up(&alone.redis, false).await;
    until_up(&refusing.redis, false).await;
    for node in [&alone, &refusing] {
        assert!(node.says("192.0.2.1", "good").await.is_err());
    }
    alone.says("192.0.2.2", "good").await.unwrap();
    let refused = refusing.says("192.0.2.2", "good").await.unwrap_err();
    let refused = refused.downcast::<Error>().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Other);
    assert_eq!(refused.source().unwrap().to_string(), "Redis is gone");

    server.start_again().await;
    until_up(&alone.redis, true).await;
    until_up(&refusing.redis, true).await;
    for node in [&alone, &refusing] {
        assert!(node.locks("192.0.2.1").await.is_some());
        node.says("192.0.2.2", "good").await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn redis_remembers_no_more_keys_than_it_may() {
    let server = RedisServer::start().await;
    let redis = Redis::open(&server.url()).unwrap();
    let node = Node::with(redis, |layer| layer.with_max_keys(100)).await;
    for number in 0..1000 {
        let ip = format!("198.51.{}.{}", number / 250, number % 250);
        for _ in 0..5 {
            node.fails(&ip).await;
        }
    }
    let bounded = async || {
        let records = failures(&server).await.len();
        let forgotten = server
            .ask(&["zcard", "{socks}:lockout:clients:forgotten"])
            .await;
        assert!(records <= 100 && forgotten.parse::<usize>().unwrap() <= 100);
        records
    };
    until("all to be told", async || bounded().await == 100).await;
    node.fails("192.0.2.1").await;
    until("newcomers to find room", async || {
        bounded().await;
        failures(&server)
            .await
            .contains(&("192.0.2.1".to_owned(), 1))
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn ten_thousand_locks_are_there_when_a_node_is_up_whatever_their_names() {
    let server = RedisServer::start().await;
    let by_name = async || {
        let patient = Duration::from_secs(30);
        let redis = Redis::open(&server.url()).unwrap().with_deadline(patient);
        let layer = LockoutLayer::by(|attempt: &Attempt| Some(text(&attempt.credentials)));
        let one = NonZeroU32::new(1).unwrap();
        let layer = layer.with_max_failures(one).shared(&redis, "names");
        let verifier = layer.layer(Users::new());
        redis.connect().await;
        (redis, verifier)
    };
    let (redis, verifier) = by_name().await;
    let name = |number: usize| format!("{number} \"\r\n*1\r\n\0\u{1b}[31m{{}}}}");
    let fails = async |verifier: &Lockout<Users, String, Attempt>, number| {
        let credentials = Credentials::new(name(number), "evil").unwrap();
        let attempt = Attempt::new(from("192.0.2.1"), credentials);
        verifier.clone().oneshot(attempt).await.map(drop)
    };
    for number in 0..10_000 {
        assert_eq!(remaining(fails(&verifier, number).await), None);
        if number % 500 == 499 {
            until("these to be told", async || {
                let told = server.ask(&["hlen", "{socks}:lockout:names:records"]).await;
                told.parse::<usize>().unwrap() == number + 1
            })
            .await;
        }
    }
    assert_eq!(redis.numbers().unanswered, 0);

    let (_redis, verifier) = by_name().await;
    for number in 0..10_000 {
        assert!(
            remaining(fails(&verifier, number).await).is_some(),
            "{number}"
        );
    }
}

fn text(credentials: &Credentials) -> String {
    String::from_utf8_lossy(credentials.username.as_bytes()).into_owned()
}
