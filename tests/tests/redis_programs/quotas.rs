//! A quota that two nodes spend from.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tests::{redis::RedisServer, wire::Wire};
use socks_tower::{
    Command, ConnectLayer, End, Error, ErrorKind, Identity, Inbound, Relay, Request, Requested,
    Session, Target, Transfer, Version,
    middleware::{
        QuotaLayer, Redis,
        redis::{Outage, RedisQuota},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::sleep,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{until, until_up};

const MIB: u64 = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
/// What a node holds at most, unless set.
const LEASE: u64 = MIB;
const QUOTA: u64 = 100 * MIB;
/// No period ends while a test runs, or they would.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

struct Node {
    redis: Redis,
    layer: QuotaLayer,
}

/// A client that has been granted a tunnel, and its target.
struct Tunnel {
    client: DuplexStream,
    target: DuplexStream,
    ended: JoinHandle<Result<Transfer, Error>>,
}

impl Node {
    async fn at(url: &str) -> Self {
        Self::with(Redis::open(url).unwrap(), QUOTA, YEAR).await
    }

    async fn with(redis: Redis, bytes: u64, period: Duration) -> Self {
        let quota = RedisQuota::new(&redis, "bytes", bytes, period);
        redis.connect().await;
        let layer = QuotaLayer::per_identity(quota);
        Self { redis, layer }
    }

    /// What a user hears: SOCKS5's code.
    async fn asks(&self, who: &str) -> Result<Tunnel, (u8, Error)> {
        let far = Arc::new(Mutex::new(None));
        let place = Arc::clone(&far);
        let connector = service_fn(move |_: Request| {
            let (near, far) = duplex(64 * 1024);
            *place.lock().unwrap() = Some(far);
            async { Ok::<_, Infallible>(near) }
        });
        let stack = ServiceBuilder::new()
            .layer(self.layer.clone())
            .layer(ConnectLayer::new(connector))
            .service(Relay::new());
        let (mut client, io) = duplex(64 * 1024);
        let session = Session::new().with_identity(Identity::new(who));
        let target = "192.0.2.1:80".parse::<Target>().unwrap();
        let request = Request::new(session, Command::CONNECT, target);
        let client_side = Inbound::new(io, Vec::new(), Version::Socks5);
        let ended = tokio::spawn(stack.oneshot(Requested::new(client_side, request)));
        let mut reply = [0; 10];
        client.read_exact(&mut reply).await.unwrap();
        if reply[1] != 0 {
            drop(client);
            return Err((reply[1], ended.await.unwrap().unwrap_err()));
        }
        let target = far.lock().unwrap().take().unwrap();
        Ok(Tunnel {
            client,
            target,
            ended,
        })
    }

    async fn refuses(&self, who: &str) -> (u8, ErrorKind) {
        let (code, error) = self.asks(who).await.err().unwrap();
        (code, error.kind())
    }
}

impl Tunnel {
    async fn moves(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap();
        let (data, mut found) = (vec![7; bytes], vec![0; bytes]);
        let Self { client, target, .. } = self;
        let (sent, read) = tokio::join!(client.write_all(&data), target.read_exact(&mut found));
        sent.unwrap();
        read.unwrap();
    }

    /// Downloads until it is cut off: what it has moved.
    async fn exhausts(self) -> u64 {
        let Self {
            mut client,
            mut target,
            ended,
        } = self;
        let sending = tokio::spawn(async move {
            let data = [7; 64 * 1024];
            while target.write_all(&data).await.is_ok() {}
        });
        let mut found = vec![0; 64 * 1024];
        while client.read(&mut found).await.is_ok_and(|found| found > 0) {}
        let transfer = ended.await.unwrap().unwrap();
        assert_eq!(transfer.end, End::QuotaExceeded);
        sending.await.unwrap();
        transfer.up + transfer.down
    }
}

/// What Redis says that joe has used.
async fn used(server: &RedisServer) -> u64 {
    let used = server
        .ask(&["zscore", "{socks}:quota:bytes", "identity:joe"])
        .await;
    used.parse().unwrap_or(0)
}

async fn until_used(server: &RedisServer, expected: u64) {
    until("what is used", async || used(server).await == expected).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_nodes_move_a_quota_to_the_byte_and_one_that_idles_holds_a_lease() {
    let server = RedisServer::start().await;
    let [a, b] = [Node::at(&server.url()).await, Node::at(&server.url()).await];
    let [one, two] = [a.asks("joe").await, b.asks("joe").await].map(Result::ok);
    let (mut one, two) = (one.unwrap(), two.unwrap());
    one.moves(10 * MIB).await;
    // b uses up all that a does not hold, which is a lease at most.
    let by_b = two.exhausts().await;
    let moved = 10 * MIB + by_b;
    assert!((QUOTA - LEASE..=QUOTA).contains(&moved), "{moved}");
    let by_a = one.exhausts().await;
    assert_eq!(by_a + by_b, QUOTA, "never more, and in the end no less");
    for node in [&a, &b] {
        assert_eq!(node.refuses("joe").await, (2, ErrorKind::Denied));
        let mut others = node.asks("ann").await.ok().unwrap();
        others.moves(MIB).await;
    }
    for key in server.ask(&["keys", "*"]).await.lines() {
        let ttl: i64 = server.ask(&["pttl", key]).await.parse().unwrap();
        assert!(ttl > 0, "{key}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_that_dies_loses_its_lease_and_one_that_ends_gives_it_back() {
    let server = RedisServer::start().await;
    let wire = Wire::to(server.addr()).await;
    let a = Node::at(&server.url()).await;
    let b = Node::at(&format!("redis://{}", wire.addr())).await;
    let mut one = a.asks("joe").await.ok().unwrap();
    one.moves(5_555_555).await;
    drop(one);
    until_used(&server, 5_555_555).await;

    let mut two = b.asks("joe").await.ok().unwrap();
    two.moves(4_444_445).await;
    // As if it were killed: Redis hears nothing more of it.
    wire.cut();
    until_up(&b.redis, false).await;
    drop((two, b));
    let lost = used(&server).await - 10_000_000;
    assert!(lost <= LEASE, "{lost}");
    let rest = a.asks("joe").await.ok().unwrap().exhausts().await;
    assert_eq!(rest, QUOTA - 10_000_000 - lost);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_period_ends_for_all_nodes_by_the_clock_of_redis() {
    let server = RedisServer::start().await;
    let node = async || {
        let redis = Redis::open(&server.url()).unwrap();
        Node::with(redis, MIB, 3 * SECOND).await
    };
    let [a, b] = [node().await, node().await];
    for _ in 0..2 {
        until("a period", async || a.asks("joe").await.is_ok()).await;
        // It may end while it is used up.
        until("its end", async || match a.asks("joe").await {
            Ok(tunnel) => tunnel.exhausts().await > 0,
            Err((code, _)) => code == 2,
        })
        .await;
        sleep(SECOND).await;
        until("the next", async || b.asks("joe").await.is_ok()).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn while_redis_is_gone_tunnels_go_on_and_what_they_move_is_told_afterwards() {
    let mut server = RedisServer::start_keeping().await;
    let a = Node::at(&server.url()).await;
    let mut tunnel = a.asks("joe").await.ok().unwrap();
    tunnel.moves(20 * MIB).await;
    server.terminate().await;
    until_up(&a.redis, false).await;
    tunnel.moves(20 * MIB).await;
    let mut another = a.asks("joe").await.ok().unwrap();
    another.moves(10 * MIB).await;

    server.start_again().await;
    until_up(&a.redis, true).await;
    until("it to be told", async || {
        let held = used(&server).await.checked_sub(50 * MIB);
        held.is_some_and(|held| held <= LEASE)
    })
    .await;
    drop((tunnel, another));
    until_used(&server, 50 * MIB).await;

    // Alone, it grants what was left when it last heard.
    server.terminate().await;
    until_up(&a.redis, false).await;
    let alone = a.asks("joe").await.ok().unwrap().exhausts().await;
    assert_eq!(alone, 50 * MIB);
    server.start_again().await;
    until_used(&server, QUOTA).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_that_refuses_lets_nobody_in_without_redis_and_ends_its_tunnels() {
    let mut server = RedisServer::start().await;
    let redis = Redis::open(&server.url()).unwrap();
    let node = Node::with(redis.when_gone(Outage::Refuse), QUOTA, YEAR).await;
    let mut tunnel = node.asks("joe").await.ok().unwrap();
    tunnel.moves(MIB).await;
    server.terminate().await;
    until_up(&node.redis, false).await;
    assert_eq!(node.refuses("ann").await, (1, ErrorKind::Other));
    let moved = tunnel.exhausts().await;
    assert!((MIB..=MIB + LEASE).contains(&moved), "{moved}");

    server.start_again().await;
    until_up(&node.redis, true).await;
    node.asks("joe").await.ok().unwrap().moves(MIB).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn slow_redis_holds_no_tunnel_beyond_the_deadline() {
    let server = RedisServer::start().await;
    let node = Node::at(&server.url()).await;
    let mut tunnel = node.asks("joe").await.ok().unwrap();
    server.pause();
    let began = tokio::time::Instant::now();
    tunnel.moves(10 * MIB).await;
    node.asks("ann").await.ok().unwrap();
    assert!(began.elapsed() < 5 * SECOND);
    server.resume();
    until_up(&node.redis, true).await;
    until("it to be told", async || used(&server).await >= 10 * MIB).await;
}
