//! A SOCKS proxy that looks names up by DNS over TLS, with a cache and names of its
//! own.
//!
//! ```sh
//! cargo run -p dns -- tls://192.0.2.53#dns.example
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that show it.

use std::time::Duration;

use anyhow::Context as _;
use socks_tower::{
    CacheLayer, DnsResolver, DnsServer, HostsLayer, Server, Socks, works::resolve::Family,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let servers = std::env::args().skip(1).map(|server| server.parse());
    let servers: Vec<DnsServer> = servers.collect::<Result<_, _>>()?;
    anyhow::ensure!(
        !servers.is_empty(),
        "which servers? tls://ADDRESS#NAME, say"
    );

    // Answers are kept as long as they say, but for ten seconds at least; and for a day
    // beyond, for when no server answers.
    let cache = CacheLayer::new()
        .with_positive(Duration::from_secs(10)..=Duration::from_secs(3600))
        .with_stale(Duration::from_secs(86_400));
    let resolver = DnsResolver::new(servers)
        .with_family(Family::PreferIpv4)
        .with_timeout(Duration::from_secs(2))
        .with_cache(cache);

    // Known here: no server hears of them.
    let hosts = HostsLayer::new()
        .with_host("db.internal".parse()?, ["192.0.2.7".parse()?])
        .with_host("ads.example".parse()?, []);
    let resolver = ServiceBuilder::new().layer(hosts).service(resolver);

    let proxy = Socks::new().with_resolver(resolver);
    let server = Server::bind("127.0.0.1:1080").await.context("listen")?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
