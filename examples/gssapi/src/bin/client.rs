//! A SOCKS5 proxy for the programs of this host, which goes through one that wants a
//! Kerberos ticket.
//!
//! ```sh
//! kinit
//! cargo run --bin client -- proxy.example.com:1080 socks@proxy.example.com
//! ```
//!
//! It prints `listening on 127.0.0.1:1081`. All that it carries is encrypted as far as
//! the other proxy.

use std::env;

use anyhow::Context;
use socks_tower::{
    AuthenticateLayer, ConnectLayer, GssApiClient, HandshakeLayer, NoAuth, Protection, Relay,
    Server, Socks5Connector, works::upstream::direct,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let mut next = || {
        args.next()
            .context("HOST:PORT of the proxy, and SERVICE@HOST")
    };
    let (upstream, service) = (next()?.parse()?, next()?);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1081".into());

    // No less than it asks for.
    let method = GssApiClient::new(&service)?
        .with_protection(Protection::Confidentiality)
        .with_least(Protection::Confidentiality);
    let connector = Socks5Connector::new(upstream, direct()).with_method(method);

    // The other proxy looks names up, and has the rules.
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
