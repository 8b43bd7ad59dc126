//! A SOCKS proxy whose targets are reached through two others.
//!
//! ```sh
//! cargo run -p chain -- 127.0.0.1:1081 127.0.0.1:8080
//! ```
//!
//! The first is a SOCKS5 proxy where we are `joe`, the second an HTTP proxy that the
//! first one connects to. It prints `listening on 127.0.0.1:1080`.

use std::env;

use anyhow::Context;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, Credentials, HandshakeLayer, HttpConnector,
    NameRules, NoAuth, Relay, Rules, Server, Socks5Connector, Target, works::upstream::direct,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let mut next = || args.next().context("HOST:PORT of two proxies");
    let (first, second): (Target, Target) = (next()?.parse()?, next()?.parse()?);

    let through_first =
        Socks5Connector::new(first, direct()).with_credentials(Credentials::new("joe", "secret")?);
    let through_both = HttpConnector::new(second, through_first);

    // The last proxy looks names up, so rules see names here, and its own rules
    // have to judge the addresses. Loopback passes only so that it can be tried.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let connector = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(NameRules::new(rules)))
        .service(through_both);

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
