//! Many at once.

use std::{
    fs,
    time::{Duration, Instant},
};

use socks_tower::DnsResolver;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::{
    proxy::{asked_by, look_up},
    server::*,
};

const HERE: [u8; 4] = [11, 0, 0, 1];

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Kilobytes that are in memory.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_slow_names_of_one_client_do_not_hold_up_another_s() {
    let server = Server::start(|query| match query.name.starts_with("slow") {
        true => vec![],
        false => v4(HERE)(query),
    })
    .await;
    let resolver = resolver(&[&server]).with_timeout(Duration::from_secs(120));
    look_up(&resolver, "warm.example").await.unwrap();
    let first = crowd(&server, &resolver, 0).await;
    // What the first has left behind serves the second.
    let second = crowd(&server, &resolver, 10_000).await;
    assert!(second < first + first / 4, "{first} {second} KB");
}

/// Ten thousand pending, while others are answered; kilobytes in memory meanwhile.
async fn crowd(server: &Server, resolver: &DnsResolver, first: usize) -> usize {
    let asked_before = server.asked_at_all();
    let before = (descriptors(), memory());
    let mut slow = JoinSet::new();
    for number in first..first + 10_000 {
        let asked = asked_by(1, &format!("slow{number}.example"));
        slow.spawn(resolver.clone().oneshot(asked));
    }
    // All have been asked for, or nearly: datagrams may be lost.
    while server.asked_at_all() < asked_before + 18_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pending = (descriptors(), memory());
    let mut took = Vec::new();
    for client in 2..22 {
        let begun = Instant::now();
        let asked = asked_by(client, &format!("quick{client}-{first}.example"));
        let found = resolver.clone().oneshot(asked).await.unwrap();
        assert_eq!(found.addrs().len(), 1);
        took.push(begun.elapsed());
    }
    assert!(slow.try_join_next().is_none());
    took.sort();
    println!("quick names took {:?}, at most {:?}", took[10], took[19]);
    println!("descriptors and KB before {before:?}, pending {pending:?}");
    // 64 sockets; generous, for the machine is the tests' too.
    assert!(pending.0 <= before.0 + 70, "{before:?} {pending:?}");
    assert!(took[10] < Duration::from_secs(1), "{took:?}");

    slow.shutdown().await;
    let patience = Instant::now();
    while descriptors() > before.0 && patience.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("afterwards {:?}", (descriptors(), memory()));
    assert!(descriptors() <= before.0);
    pending.1
}

#[tokio::test]
async fn a_thousand_clients_that_ask_for_one_name_ask_once() {
    let server = Server::start(|query| {
        let mut does = vec![Waits(Duration::from_millis(200))];
        does.extend(v4(HERE)(query));
        does
    })
    .await;
    let resolver = resolver(&[&server]);
    let mut asking = JoinSet::new();
    for client in 0..1000 {
        asking.spawn(resolver.clone().oneshot(asked_by(client, "db.example")));
    }
    while let Some(found) = asking.join_next().await {
        assert_eq!(found.unwrap().unwrap().addrs().len(), 1);
    }
    assert_eq!(server.asked("db.example", A), 1);
}

#[tokio::test]
async fn a_lookup_ends_with_the_last_client_that_waits_for_it() {
    let server = Server::start(|_| vec![]).await;
    let resolver = resolver(&[&server]).with_timeout(Duration::from_secs(600));
    let before = server.asked_at_all();
    let mut one = tokio::spawn(resolver.clone().oneshot(asked_by(1, "db.example")));
    let other = tokio::spawn(resolver.clone().oneshot(asked_by(2, "db.example")));
    while server.asked_at_all() < before + 2 {
        tokio::task::yield_now().await;
    }
    other.abort();
    let _ = other.await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut one)
            .await
            .is_err()
    );
    one.abort();
    let _ = one.await;
    // Whoever comes now asks anew.
    let third = tokio::spawn(resolver.clone().oneshot(asked_by(3, "db.example")));
    while server.asked("db.example", A) < 2 {
        tokio::task::yield_now().await;
    }
    third.abort();
}
