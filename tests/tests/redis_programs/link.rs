//! The link: it comes, goes, and comes back.

use socks_tests::redis::RedisServer;
use socks_tower::middleware::Redis;

use crate::{until, until_up};

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
