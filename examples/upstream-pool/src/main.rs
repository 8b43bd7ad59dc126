//! Many upstream proxies as one: a user's session keeps to one of them.
//!
//! ```sh
//! cargo run -p upstream-pool -- socks5h://127.0.0.1:1081 socks5h://127.0.0.1:1082
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`, and every two seconds how its upstreams do,
//! if that has changed. The README has the commands that show it.

use std::{env, time::Duration};

use anyhow::bail;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, NameRules, ProxyConnector,
    ProxyUrl, Relay, Rules, Server, UpstreamPool, Users,
    stages::authenticate::SplitName,
    works::{
        pool::{Sticky, UpstreamStatus},
        upstream::direct,
    },
};
use tokio::time::interval;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // All tries for a request have ten seconds, and each of them half of that.
    let mut pool = UpstreamPool::new()
        .with_timeout(Duration::from_secs(10))
        .with_sticky(Sticky::suffix());
    for url in env::args().skip(1) {
        let url: ProxyUrl = url.parse()?;
        let name = url.to_string(); // without its password
        // A little less, so that it can say whose fault it was.
        let upstream = ProxyConnector::new(url, direct()).with_timeout(Duration::from_secs(4));
        pool = pool.with_upstream(name, upstream);
    }
    if pool.upstreams().is_empty() {
        bail!("no URL of an upstream proxy is given");
    }
    tokio::spawn(report(pool.clone()));

    // The upstreams look names up: what can be judged is what clients call their targets.
    // Private ones are permitted only so that it can be tried without the Internet.
    let connector = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(NameRules::new(
            Rules::new().permit_all_special(),
        )))
        .service(pool);

    // `joe-session-abc` is Joe, and all that he calls `abc` goes through one upstream.
    let users = SplitName::new("-session-", Users::new().with("joe", "secret")?);
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(users))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}

async fn report<C>(pool: UpstreamPool<C>) {
    let mut before = pool.upstreams();
    let mut ticks = interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        let now = pool.upstreams();
        if now != before {
            for UpstreamStatus {
                name, live, is_out, ..
            } in &now
            {
                println!("{name}: {live} live{}", if *is_out { ", out" } else { "" });
            }
        }
        before = now;
    }
}
