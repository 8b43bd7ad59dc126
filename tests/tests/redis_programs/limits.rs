//! Limits that two nodes count together.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

use socks_tests::{PATIENCE, redis::RedisServer};
use socks_tower::{
    BoxError, Command, Error, ErrorKind, Identity, Outbound, Request, Session, Target,
    middleware::{
        Limited, Rate, Redis, RedisLimitsLayer,
        redis::{By, Outage},
    },
};
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::{until, until_up};

const LEASE: Duration = Duration::from_millis(900);

/// A node's connector, of which nothing but its limits is real.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) redis: Redis,
    limits: RedisLimitsLayer,
}

pub(crate) type Tunnel = Outbound<DuplexStream>;
/// As a box, as the compiler cannot see otherwise that it may go to another thread.
type Asking = Pin<Box<dyn Future<Output = Result<Tunnel, Error>> + Send>>;

impl Node {
    /// One that lets each identity have `max`.
    pub(crate) async fn live(redis: Redis, max: usize) -> Self {
        Self::with(redis, |limits| {
            limits.with_live("tunnels", max, By::identity())
        })
        .await
    }

    pub(crate) async fn with(
        redis: Redis,
        limits: impl FnOnce(RedisLimitsLayer) -> RedisLimitsLayer,
    ) -> Self {
        let layer = RedisLimitsLayer::new(&redis).with_lease(LEASE);
        let limits = limits(layer);
        redis.connect().await;
        Self { redis, limits }
    }

    /// One that has not been told to connect.
    pub(crate) fn unconnected(redis: Redis, max: usize) -> Self {
        let limits = RedisLimitsLayer::new(&redis).with_live("tunnels", max, By::identity());
        Self { redis, limits }
    }

    /// Who it is asks for a tunnel.
    pub(crate) fn asks(&self, who: &str) -> Asking {
        let connector = service_fn(|_: Request| async { Ok::<_, BoxError>(duplex(1).0) });
        let session = Session::new().with_identity(Identity::new(who));
        let target = "192.0.2.1:80".parse::<Target>().unwrap();
        let request = Request::new(session, Command::CONNECT, target);
        Box::pin(self.limits.layer(connector).oneshot(request))
    }

    pub(crate) async fn lets_in(&self, who: &str, count: usize) -> Vec<Tunnel> {
        let mut tunnels = Vec::new();
        for _ in 0..count {
            tunnels.push(self.asks(who).await.unwrap());
        }
        tunnels
    }

    pub(crate) async fn refuses(&self, who: &str) -> Limited {
        let error = self.asks(who).await.expect_err("one more than may be");
        assert_eq!(error.kind(), ErrorKind::Limited);
        let limited = error.get_ref().unwrap().downcast_ref::<Limited>();
        limited.expect("what a limit says").clone()
    }
}

pub(crate) fn link(server: &RedisServer, name: &str) -> Redis {
    // Tests beside this one keep the machine busy: what is not about the deadline has a
    // long one.
    Redis::open(&server.url())
        .unwrap()
        .with_node(name)
        .with_deadline(Duration::from_secs(10))
}

/// How many connections Redis knows of, of all nodes.
async fn known(server: &RedisServer, who: &str) -> usize {
    let key = format!("{{socks}}:live:tunnels:={who}");
    let values = server.ask(&["hvals", &key]).await;
    let counts = values.lines().filter_map(|value| value.split(' ').next());
    counts
        .map(|count| count.parse::<usize>().unwrap_or(0))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn fifty_of_both_nodes_are_never_fifty_one() {
    let server = RedisServer::start().await;
    let nodes = [
        Node::live(link(&server, "a"), 50).await,
        Node::live(link(&server, "b"), 50).await,
    ];
    static LIVE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static LET_IN: AtomicUsize = AtomicUsize::new(0);
    let end = Instant::now() + Duration::from_secs(4);
    let mut clients = JoinSet::new();
    for client in 0..200_u64 {
        let node = nodes[usize::from(client % 2 == 0)].clone();
        clients.spawn(async move {
            let mut turn = client;
            while Instant::now() < end {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let pause = Duration::from_micros((turn >> 33) % 50_000);
                // Some lose patience before there is an answer.
                let patience = match turn >> 60 {
                    0..4 => Duration::from_millis(turn >> 60),
                    _ => PATIENCE,
                };
                let asked = timeout(patience, node.asks("joe")).await;
                if let Ok(Ok(tunnel)) = asked {
                    LET_IN.fetch_add(1, Ordering::SeqCst);
                    MOST.fetch_max(LIVE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(pause).await;
                    LIVE.fetch_sub(1, Ordering::SeqCst);
                    drop(tunnel);
                } else {
                    sleep(pause / 4).await;
                }
            }
        });
    }
    clients.join_all().await;

    let (most, let_in) = (MOST.load(Ordering::SeqCst), LET_IN.load(Ordering::SeqCst));
    println!("{let_in} let in, {most} at once at most");
    assert!(most <= 50, "{most}");
    // On a machine with nothing else to do it is 50.
    assert!(most > 25, "it is not one node's part that held: {most}");
    assert!(let_in > 500, "{let_in}");
    for node in &nodes {
        assert_eq!(
            node.redis.numbers().unanswered,
            0,
            "Redis answered throughout"
        );
    }
    until("all places are free", async || {
        known(&server, "joe").await == 0
    })
    .await;
    let all = nodes[0].lets_in("joe", 50).await;
    assert!(matches!(
        nodes[1].refuses("joe").await,
        Limited::Live { max: 50, .. }
    ));
    drop(all);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_end_of_a_tunnel_makes_a_place_at_the_other_node() {
    let server = RedisServer::start().await;
    let a = Node::live(link(&server, "a"), 2).await;
    let b = Node::live(link(&server, "b"), 2).await;
    let mut held = a.lets_in("joe", 2).await;
    b.refuses("joe").await;
    b.lets_in("ann", 2).await;

    let began = Instant::now();
    held.pop();
    until("a place", async || b.asks("joe").await.is_ok()).await;
    assert!(began.elapsed() < LEASE / 3, "told, and not renewed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_node_that_vanishes_gives_its_places_back_within_the_lease() {
    let server = RedisServer::start().await;
    let b = Node::live(link(&server, "b"), 50).await;
    let vanishing = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let url = server.url();
    let a = vanishing.spawn(async move {
        let a = Node::live(Redis::open(&url).unwrap(), 50).await;
        let held = a.lets_in("joe", 50).await;
        (a, held)
    });
    let (node, held) = a.await.unwrap();

    // It lives longer than its lease, which is renewed.
    let renewed = Instant::now() + 2 * LEASE;
    while Instant::now() < renewed {
        b.refuses("joe").await;
        sleep(Duration::from_millis(20)).await;
    }
    // And is gone, without a word.
    mem::forget((node, held));
    vanishing.shutdown_background();
    let gone = Instant::now();
    until("a place", async || b.asks("joe").await.is_ok()).await;
    let took = gone.elapsed();
    println!("back after {took:?} of {LEASE:?}");
    assert!(took > LEASE / 2, "{took:?}");
    assert!(took < LEASE + LEASE / 3, "{took:?}");
    b.lets_in("joe", 49).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_that_closes_gives_its_places_back_at_once() {
    let server = RedisServer::start().await;
    let a = Node::live(link(&server, "a"), 50).await;
    let b = Node::live(link(&server, "b"), 50).await;
    let held = a.lets_in("joe", 50).await;
    b.refuses("joe").await;

    a.redis.close().await;

    b.lets_in("joe", 50).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_hundred_a_second_are_that_over_both_nodes() {
    const SECONDS: u32 = 5;
    let server = RedisServer::start().await;
    let rate = Rate::per_second(100).with_burst(20);
    let limits = |limits: RedisLimitsLayer| limits.with_rate("new", rate, By::identity());
    let nodes = [
        Node::with(link(&server, "a"), limits).await,
        Node::with(link(&server, "b"), limits).await,
    ];

    let mut clients = JoinSet::new();
    for client in 0..20 {
        let node = nodes[client % 2].clone();
        clients.spawn(async move {
            let mut let_in = 0;
            // 400 a second in all, and three quarters of them at one node.
            let mut ticks = interval(match client % 2 {
                0 => Duration::from_micros(33_333),
                _ => Duration::from_millis(100),
            });
            let end = Instant::now() + Duration::from_secs(SECONDS.into());
            while Instant::now() < end {
                ticks.tick().await;
                let_in += u32::from(node.asks("joe").await.is_ok());
            }
            let_in
        });
    }
    let let_in: u32 = clients.join_all().await.iter().sum();
    println!("{let_in} of {}", 100 * SECONDS + 20);
    assert!(let_in <= (100 * SECONDS + 20) * 105 / 100, "{let_in}");
    assert!(let_in >= (100 * SECONDS + 20) * 95 / 100, "{let_in}");

    let limited = loop {
        // One may have come meanwhile.
        if let Err(error) = nodes[1].asks("joe").await {
            break error.get_ref().unwrap().downcast_ref::<Limited>().cloned();
        }
    };
    let Some(Limited::Rate { retry_after, .. }) = limited else {
        panic!("refused by another limit");
    };
    assert!(retry_after.unwrap() < Duration::from_millis(20));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_connection_is_let_in_by_all_limits_or_counted_by_none() {
    let server = RedisServer::start().await;
    let limits = |limits: RedisLimitsLayer| {
        limits
            .with_rate("new", Rate::per_minute(3), By::identity())
            .with_live("tunnels", 1, By::identity())
    };
    let a = Node::with(link(&server, "a"), limits).await;
    let b = Node::with(link(&server, "b"), limits).await;
    let held = a.lets_in("joe", 1).await;
    for _ in 0..2 {
        assert!(matches!(b.refuses("joe").await, Limited::Live { .. }));
    }
    drop(held);
    // Those refused have taken nothing of the rate at Redis.
    until("a place", async || known(&server, "joe").await == 0).await;
    b.lets_in("joe", 1).await;
    until("a place", async || known(&server, "joe").await == 0).await;
    a.lets_in("joe", 1).await;
    until("a place", async || known(&server, "joe").await == 0).await;
    assert!(matches!(a.refuses("joe").await, Limited::Rate { .. }));
    assert_eq!(known(&server, "joe").await, 0);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_limits_are_one_round_trip_and_none_is_none() {
    let server = RedisServer::start().await;
    let node = Node::with(link(&server, "a").with_node("a"), |limits| {
        limits
            .with_lease(Duration::from_secs(60))
            .with_rate("new", Rate::per_second(1000), By::identity())
            .with_live("tunnels", 100, By::identity())
            .with_live(
                "all",
                1,
                By::key(|session| {
                    let is_ann = session.identity == Some(Identity::new("ann"));
                    is_ann.then(|| "ann".to_owned())
                }),
            )
    })
    .await;
    let first = node.lets_in("joe", 1).await;
    let calls = async || {
        let stats = server.ask(&["info", "commandstats"]).await;
        let of = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(name));
            let calls = line.and_then(|line| line.split(',').next());
            calls.map_or(0, |calls| calls.parse::<u64>().unwrap())
        };
        let all: u64 = ["evalsha", "eval", "script|load"]
            .iter()
            .map(|name| of(&format!("cmdstat_{name}:calls=")))
            .sum();
        all
    };
    let before = calls().await;
    let asked = node.redis.numbers().questions;
    let ten = node.lets_in("joe", 10).await;
    assert_eq!(calls().await - before, 10, "one for each connection");
    assert_eq!(node.redis.numbers().questions - asked, 10);

    // What the node itself refuses, Redis is not asked.
    let ann = node.lets_in("ann", 1).await;
    let before = calls().await;
    for _ in 0..10 {
        node.refuses("ann").await;
    }
    assert_eq!(calls().await, before);
    drop((first, ten, ann));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_question_that_nobody_waits_for_leaves_no_place_taken() {
    let server = RedisServer::start().await;
    let node = Node::live(link(&server, "a"), 10).await;
    node.lets_in("joe", 1).await;
    for _ in 0..10 {
        // It is asked, and dropped before there can be an answer.
        let mut asking = node.asks("joe");
        poll_fn(|cx| {
            assert!(asking.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    until("no place is taken", async || {
        known(&server, "joe").await == 0
    })
    .await;

    // Nor one that Redis hears of when nobody waits any more.
    server.pause();
    for _ in 0..10 {
        let asking = node.asks("joe");
        assert!(timeout(Duration::from_millis(5), asking).await.is_err());
    }
    server.resume();
    until("no place is taken", async || {
        known(&server, "joe").await == 0
    })
    .await;
    node.lets_in("joe", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_hundred_thousand_strangers_stay_within_the_bound_and_all_they_leave_expires() {
    const BOUND: usize = 5000;
    let server = RedisServer::start().await;
    let node = Node::with(link(&server, "a"), |limits| {
        limits
            .with_lease(Duration::from_secs(15))
            .with_max_keys(BOUND)
            .with_live("tunnels", 5, By::identity())
            .with_rate("new", Rate::per_minute(1), By::identity())
    })
    .await;
    let mut clients = JoinSet::new();
    for part in 0..50 {
        let node = node.clone();
        clients.spawn(async move {
            let mut held = Vec::new();
            for number in 0..2000 {
                held.extend(node.asks(&format!("{part}-{number}")).await.ok());
            }
            held
        });
    }
    let held: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    println!("{} of 100000 let in", held.len());
    assert_eq!(held.len(), BOUND);
    assert_eq!(node.redis.numbers().unanswered, 0);

    // One of each limit for each, and the node's own.
    let keys: usize = server.ask(&["dbsize"]).await.parse().unwrap();
    assert_eq!(keys, 2 * BOUND + 1);
    let for_ever = "local n = 0 \
        for _, key in ipairs(redis.call('KEYS', '*')) do \
        if redis.call('PTTL', key) < 0 then n = n + 1 end end return n";
    assert_eq!(server.ask(&["eval", for_ever, "0"]).await, "0");
    drop(held);
    until("the tunnels' keys are gone", async || {
        let keys: usize = server.ask(&["dbsize"]).await.parse().unwrap();
        keys <= BOUND + 1
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_lost_all_is_told_again_and_one_that_kept_it_is_right_at_once() {
    for keeps in [false, true] {
        let mut server = match keeps {
            false => RedisServer::start().await,
            true => RedisServer::start_keeping().await,
        };
        let lease = Duration::from_secs(30);
        let limits = |limits: RedisLimitsLayer| {
            limits
                .with_lease(lease)
                .with_live("tunnels", 50, By::identity())
        };
        let a = Node::with(link(&server, "a"), limits).await;
        let b = Node::with(link(&server, "b"), limits).await;
        let held = a.lets_in("joe", 48).await;
        server.terminate().await;
        for node in [&a, &b] {
            until_up(&node.redis, false).await;
        }
        // What comes and goes meanwhile counts, too.
        let more = a.lets_in("joe", 1).await;
        server.start_again().await;
        // One that has never heard of them.
        let c = Node::with(link(&server, "c"), limits).await;
        if keeps {
            let room = c.lets_in("joe", 1).await;
            drop(room);
        }
        until_up(&a.redis, true).await;
        until_up(&b.redis, true).await;
        until("all are known", async || known(&server, "joe").await == 49).await;
        let last = b.lets_in("joe", 1).await;
        b.refuses("joe").await;
        drop((held, more, last));
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_name_tells_limits_apart_and_a_prefix_fleets() {
    let server = RedisServer::start().await;
    let a = Node::live(link(&server, "a"), 1).await;
    let other = Node::live(link(&server, "a").with_prefix("other"), 1).await;
    let named = Node::with(link(&server, "b"), |limits| {
        limits.with_live("others", 1, By::identity())
    })
    .await;
    let refusing = Node::live(link(&server, "c").when_gone(Outage::Refuse), 1).await;
    let held = [
        a.lets_in("joe", 1).await,
        other.lets_in("joe", 1).await,
        named.lets_in("joe", 1).await,
    ];
    refusing.refuses("joe").await;
    drop(held);
}
