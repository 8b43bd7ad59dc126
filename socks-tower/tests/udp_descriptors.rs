//! Descriptors of associations that must be gone. They are counted for the
//! whole process, so this is a process of its own, with a single test.

#![cfg(target_os = "linux")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, in its helpers too"
)]

#[path = "udp/support.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod support;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socks_tower::{NameRules, Rules, Socks5Connector, UdpAssociate, works::upstream::direct};
use support::{Client, Proxy, echo, judge};
use tokio::time::sleep;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn associations_that_end_close_their_sockets() {
    directly().await;
    through_another_proxy().await;
}

/// As many as the system lets this process have, up to a thousand.
async fn through_another_proxy() {
    // TCP and UDP of the client; two of each in the first proxy; three in the second.
    const EACH: usize = 2 + 4 + 3;

    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap();
    let count = ((limit - descriptors()) / EACH - 10).min(1000);

    let target = echo("127.0.0.1").await;
    let mut inner = Proxy::start(UdpAssociate::new(judge())).await;
    let rules = NameRules::new(Rules::new().permit_all_special());
    let connector = Socks5Connector::new(inner.addr.into(), direct());
    let mut outer = Proxy::start(UdpAssociate::through(rules, connector)).await;
    let before = descriptors();
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = Client::new(&outer).await;
        client.echo(&target.into(), target, b"hello").await;
        clients.push(client);
    }
    assert_eq!(descriptors(), before + count * EACH);
    drop(clients);
    for _ in 0..count {
        outer.ended().await.unwrap();
        inner.ended().await.unwrap();
    }
    // The last control connection is closed a moment after its session has ended.
    while descriptors() != before {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn directly() {
    let (v4, v6) = (echo("127.0.0.1").await, echo("::1").await);
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let before = descriptors();
    for reset in [false, true] {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let client = Client::new(&proxy).await;
            // Its two of the client, TCP and UDP, and the same here.
            client.echo(&v4.into(), v4, b"hello").await;
            client.echo(&v6.into(), v6, b"hello").await;
            clients.push(client);
        }
        assert_eq!(descriptors(), before + 20 * (2 + 2 + 2));
        for client in clients.drain(..) {
            if reset {
                client.control.set_zero_linger().unwrap();
            }
        }
        for _ in 0..20 {
            proxy.ended().await.unwrap();
        }
        assert_eq!(descriptors(), before);
    }
}
