//! Rules, users and limits, between two requests of one connection.

use std::time::Duration;

use socks_tower::{
    ConnectLayer, Relay, Rules, Users,
    middleware::{
        BandwidthLayer, ByteRate, LiveLimitLayer, MemoryQuota, QuotaLayer, Rate, RateLimitLayer,
        RegisterLayer, Sessions,
    },
};
use tokio::{io::AsyncReadExt, task::JoinSet, time::Instant};
use tower::ServiceBuilder;

use crate::world::{Asked, Client, Origin, serve, soon};

/// A proxy with a layer between the stages.
macro_rules! proxy {
    ($asked:expr $(, $layer:expr)*) => {
        serve(
            ServiceBuilder::new()
                .layer($asked.http())
                $(.layer($layer))*
                .layer(ConnectLayer::new($asked.connector()))
                .service(Relay::new()),
        )
        .await
    };
}

#[tokio::test]
async fn a_rule_that_changes_is_asked_about_the_next_request() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let mut client = Client::new(proxy!(asked)).await;
    assert_eq!(client.get(&origin, "/3").await, (200, 3));
    assert_eq!(client.get(&origin, "/3").await, (200, 3));
    assert_eq!(origin.came(), 1);
    // Loopback is special.
    asked.rules.replace(Rules::new());
    assert_eq!(client.get(&origin, "/3").await.0, 403);
    asked.rules.replace(Rules::new().permit_all_special());
    assert_eq!(client.get(&origin, "/3").await, (200, 3));
}

#[tokio::test]
async fn a_user_who_is_banned_is_not_let_in_with_the_next_request() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let mut client = Client::new(proxy!(asked)).await;
    assert_eq!(client.get(&origin, "/3").await, (200, 3));
    asked.users.replace(Users::new());
    assert_eq!(client.get(&origin, "/3").await.0, 407);
    asked
        .users
        .replace(Users::new().with("joe", "good").unwrap());
    assert_eq!(client.get(&origin, "/3").await, (200, 3));
}

#[tokio::test]
async fn a_rate_counts_requests_and_says_when_to_come_again() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let rate = Rate::new(2, Duration::from_secs(3600));
    let mut client = Client::new(proxy!(asked, RateLimitLayer::per_identity(rate))).await;
    for _ in 0..2 {
        assert_eq!(client.get(&origin, "/3").await, (200, 3));
    }
    client.ask(&origin, "/3").await;
    let (status, head) = client.head().await;
    assert_eq!(status, 429, "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(origin.came(), 1);
}

#[tokio::test]
async fn a_live_limit_counts_requests_under_way() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let proxy = proxy!(asked, LiveLimitLayer::per_identity(1));
    let (mut one, mut two) = (Client::new(proxy).await, Client::new(proxy).await);
    // As many as they like, one after the other, on either connection.
    for _ in 0..50 {
        assert_eq!(one.get(&origin, "/3").await, (200, 3));
        assert_eq!(two.get(&origin, "/3").await, (200, 3));
    }
    one.ask(&origin, "/hold").await;
    let began = Instant::now();
    while two.get(&origin, "/3").await.0 == 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody counts");
    }
    one.vanish();
    let began = Instant::now();
    while two.get(&origin, "/3").await.0 == 429 {
        assert!(began.elapsed() < Duration::from_secs(60), "it is held");
    }
}

#[tokio::test]
async fn a_quota_counts_the_bytes_of_all_requests() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let hour = Duration::from_secs(3600);
    let quota = QuotaLayer::per_identity(MemoryQuota::new(10_000, hour));
    let proxy = proxy!(asked, quota);
    let mut client = Client::new(proxy).await;
    assert_eq!(client.get(&origin, "/4000").await, (200, 4000));
    assert_eq!(client.get(&origin, "/4000").await, (200, 4000));
    // It ends within the third: that is no whole answer.
    client.ask(&origin, "/4000").await;
    let mut rest = Vec::new();
    let ended = soon(client.io().read_to_end(&mut rest)).await;
    assert!(
        ended.is_err() && rest.len() < 4000,
        "{ended:?} {}",
        rest.len()
    );
    // And there is no other.
    assert_eq!(Client::new(proxy).await.get(&origin, "/1").await.0, 403);
}

#[tokio::test]
async fn bandwidth_is_that_of_all_requests_together() {
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let rate = ByteRate::per_second(400_000).with_burst(64 * 1024);
    let layer = BandwidthLayer::per_identity(rate);
    let mut client = Client::new(proxy!(asked, layer)).await;
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(client.get(&origin, "/100000").await, (200, 100_000));
    }
    // 500 KB, of which 64 KiB come at once. No clock makes it faster.
    let least = Duration::from_millis(1000);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    assert_eq!(origin.came(), 1);
}

#[tokio::test]
async fn a_thousand_connections_at_once_have_each_their_own() {
    const CLIENTS: usize = 1000;
    let (asked, origin) = (Asked::new(), Origin::new().await);
    let sessions = Sessions::new();
    let proxy = proxy!(asked, RegisterLayer::new(sessions.clone()));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::new(proxy).await);
    }
    let origin = std::sync::Arc::new(origin);
    let mut all = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let origin = std::sync::Arc::clone(&origin);
        all.spawn(async move {
            for turn in 0..3 {
                let len = number + turn;
                assert_eq!(client.get(&origin, &format!("/{len}")).await, (200, len));
            }
            client
        });
    }
    let clients = all.join_all().await;
    assert_eq!(origin.came(), CLIENTS);
    // Nobody asks for anything now.
    let began = Instant::now();
    while !sessions.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "{sessions:?}");
        tokio::task::yield_now().await;
    }
    drop(clients);
}
