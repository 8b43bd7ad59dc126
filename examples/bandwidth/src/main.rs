//! A SOCKS proxy that limits bytes per second, and says how many pass.
//!
//! ```sh
//! cargo run -p bandwidth
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`, and once a second, while something
//! moves, how much. The README has the commands that show it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socks_tower::{
    Accepted, AuthenticateLayer, AuthorizeLayer, ConnectLayer, Direction, HandshakeLayer, Meter,
    NoAuth, Relay, ResolveLayer, Rules, Server, SystemResolver, TcpConnector,
    middleware::{BandwidthLayer, ByteRate},
};
use tokio::time::interval;
use tower::ServiceBuilder;

/// Bytes that have passed in all tunnels, up and down.
#[derive(Default)]
struct Passed {
    up: AtomicU64,
    down: AtomicU64,
}

impl Meter for Passed {
    fn record(&self, direction: Direction, bytes: u64) {
        let count = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        count.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        // Only so that it can be tried without the Internet.
        .layer(AuthorizeLayer::new(
            Rules::new().permit_special("127.0.0.0/8".parse()?),
        ))
        .service(TcpConnector::new());

    // Each tunnel has 1 MB/s; a client with several has no more than 2.
    let bandwidth = BandwidthLayer::per_tunnel(ByteRate::per_second(1_000_000))
        .and(BandwidthLayer::per_client(ByteRate::per_second(2_000_000)));

    let passed = Arc::new(Passed::default());
    let meter = Arc::clone(&passed);
    let proxy = ServiceBuilder::new()
        .layer(bandwidth)
        .map_request(move |mut accepted: Accepted<_>| {
            accepted.session.policy.add_meter(meter.clone());
            accepted
        })
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("listening on {}", server.local_addr());
    tokio::spawn(report(passed));
    server.serve(proxy).await?;
    Ok(())
}

async fn report(passed: Arc<Passed>) {
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let up = passed.up.swap(0, Ordering::Relaxed);
        let down = passed.down.swap(0, Ordering::Relaxed);
        if up + down > 0 {
            println!("{up} bytes up, {down} down");
        }
    }
}
