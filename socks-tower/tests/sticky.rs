//! What keys cost that keep to an upstream. By itself, for it measures the memory of its
//! process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{convert::Infallible, ops::Range};

use socks_tower::{
    Command, Connector, Identity, Request, Session, Target, UpstreamPool, Work,
    session::NameSuffix, works::pool::Sticky,
};
use tokio::io::duplex;
use tower::service_fn;

/// Bytes of memory that are this process's own.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

/// Asks with a key of its own for each of `numbers`.
async fn ask<C: Connector<Request>>(pool: &UpstreamPool<C>, numbers: Range<u32>) {
    for number in numbers {
        let suffix = NameSuffix::new(format!("session-{number}"));
        let mut session = Session::new().with_identity(Identity::new("joe"));
        session.extensions.insert(suffix);
        let target: Target = "example.com:80".parse().unwrap();
        let request = Request::new(session, Command::CONNECT, target);
        pool.clone().run(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_hundred_thousand_keys_take_no_memory() {
    let connector = service_fn(|_: Request| async { Ok::<_, Infallible>(duplex(64).0) });
    let pool = UpstreamPool::new().with_sticky(Sticky::suffix());
    for name in ["a", "b", "c", "d"] {
        pool.insert(name, connector);
    }
    ask(&pool, 0..10_000).await;
    let before = memory();
    ask(&pool, 10_000..110_000).await;
    let grown = memory().saturating_sub(before);
    println!("{grown} bytes more for 100,000 keys more");
    // A table of them would take some megabytes.
    assert!(grown < 1 << 20, "{grown}");
}
