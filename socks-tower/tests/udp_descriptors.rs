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

use socks_tower::UdpAssociate;
use support::{Client, Proxy, echo, judge};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn an_association_that_ends_closes_its_sockets() {
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
