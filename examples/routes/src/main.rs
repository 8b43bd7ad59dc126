//! Some targets directly, some through another proxy, some not at all.
//!
//! ```sh
//! cargo run -p routes -- socks5h://127.0.0.1:1081
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that show it.

use std::env;

use anyhow::Context;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Match, NoAuth, ProxyConnector,
    ProxyUrl, Relay, ResolveLayer, Routes, Rules, Server, SystemResolver, TcpConnector,
    works::upstream,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = env::args()
        .nth(1)
        .context("the URL of a proxy is missing")?;
    let url: ProxyUrl = url.parse()?;

    // Directly: looked up here, and judged address by address. Loopback is permitted
    // only so that it can be tried without the Internet.
    let loopback = "127.0.0.0/8".parse()?;
    let direct = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new().permit_special(loopback)))
        .service(TcpConnector::new());

    // Through the other proxy: it looks up what is called by a name.
    let through = ProxyConnector::new(url, upstream::direct());

    // The first that matches counts. All are judged by what clients call their targets.
    let connector = Routes::new(direct)
        .permit_special(loopback)
        .deny(Match::any().domain("ads.example".parse()?))
        .to(Match::any().domain("example".parse()?), through.clone())
        .to(
            Match::any().network("192.0.2.0/24".parse()?).port(443),
            through,
        );

    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
