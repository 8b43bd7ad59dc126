//! The link: it comes, goes, and comes back.

use std::time::Duration;

use socks_tests::{patiently, redis::RedisServer};
use socks_tower::middleware::Redis;
use tokio::time::sleep;

async fn until(redis: &Redis, is_up: bool) {
    let reached = async {
        while redis.numbers().is_up != is_up {
            sleep(Duration::from_millis(5)).await;
        }
    };
    patiently("what Redis is to be", reached).await;
}

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
        until(&redis, false).await;
        assert_eq!(redis.numbers().outages, outages);
        assert!(!redis.connect().await);
        server.start_again().await;
        until(&redis, true).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_link_ends_with_its_last_clone_and_when_it_is_closed() {
    let server = RedisServer::start().await;
    let clients = async |count: usize| {
        let counted = async {
            // The one that asks is there, too.
            while server.ask(&["client", "list"]).await.lines().count() != count + 1 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        patiently("so many clients", counted).await;
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
