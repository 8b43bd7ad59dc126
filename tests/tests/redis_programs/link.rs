//! The link: it comes, goes, and comes back.

use socks_tests::redis::RedisServer;
use socks_tower::{
    Accepted, Error, ErrorKind, Session, Socks,
    middleware::{Redis, RedisLimitsLayer, redis::By},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower::{ServiceBuilder, ServiceExt};

use crate::{limits::Node, until, until_up};

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_link_is_back_by_itself_when_redis_is() {
    let mut server = RedisServer::start().await;
    let redis = Redis::open(&server.url()).unwrap().with_node("a");
    assert!(redis.connect().await);
    let nodes = server.ask(&["keys", "*"]).await;
    assert!(nodes.starts_with("{socks}:node:a-"), "{nodes}");

    for outages in 1..=3 {
        server.terminate().await;
        until_up(&redis, false).await;
        assert_eq!(redis.numbers().outages, outages);
        assert!(!redis.connect().await);
        server.start_again().await;
        until_up(&redis, true).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_link_ends_with_its_last_clone_and_when_it_is_closed() {
    let server = RedisServer::start().await;
    let clients = async |count: usize| {
        // The one that asks is there, too.
        until("so many clients", async || {
            server.ask(&["client", "list"]).await.lines().count() == count + 1
        })
        .await;
    };
    let redis = Redis::open(&server.url()).unwrap();
    assert!(redis.connect().await);
    clients(1).await;
    drop(redis.clone());
    clients(1).await;
    drop(redis);
    clients(0).await;

    let redis = Redis::open(&server.url()).unwrap();
    assert!(redis.connect().await);
    clients(1).await;
    redis.close().await;
    clients(0).await;
    assert!(!redis.connect().await, "closed is closed");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_link_outlives_the_runtime_that_connected_it() {
    let server = RedisServer::start().await;
    let (url, (say, said)) = (server.url(), tokio::sync::oneshot::channel());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let redis = Redis::open(&url).unwrap();
            let node = Node::live(redis, 10).await;
            say.send((node.clone(), node.lets_in("joe", 7).await)).ok();
        });
    });
    let (node, held) = said.await.unwrap();
    thread.join().unwrap();

    // The first that asks finds the link dead, and goes on; others have it again.
    let more = node.lets_in("joe", 1).await;
    assert!(!node.redis.numbers().is_up);
    node.lets_in("joe", 1).await;
    until_up(&node.redis, true).await;
    let other = Node::live(Redis::open(&server.url()).unwrap(), 10).await;
    let all = other.lets_in("joe", 2).await;
    other.refuses("joe").await;
    drop((held, more, all));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn between_the_stages_a_place_is_held_until_the_session_ends() {
    let server = RedisServer::start().await;
    let redis = Redis::open(&server.url()).unwrap();
    assert!(redis.connect().await);
    let limits = RedisLimitsLayer::new(&redis).with_live("sessions", 1, By::client());
    let proxy = ServiceBuilder::new().layer(limits).service(Socks::new());
    let client = async || {
        let (client, far) = duplex(64);
        let proxy = proxy.clone();
        let session = tokio::spawn(proxy.oneshot(Accepted::new(far, Session::new())));
        (client, session)
    };
    let (mut first, _session) = client().await;
    first.write_all(b"\x05\x01\x00").await.unwrap();
    let mut chosen = [0; 2];
    first.read_exact(&mut chosen).await.unwrap();

    let (_second, session) = client().await;
    let error: Error = session.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limited);
    drop(first);
    until("a place", async || {
        let (mut third, _session) = client().await;
        let says = third.write_all(b"\x05\x01\x00").await;
        says.is_ok() && third.read_exact(&mut chosen).await.is_ok()
    })
    .await;
}
