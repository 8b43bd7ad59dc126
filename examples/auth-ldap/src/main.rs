//! A SOCKS proxy whose users are those of an LDAP directory.
//!
//! ```sh
//! cargo run -p auth-ldap -- ldaps://ldap.example.org 'uid={},ou=people,dc=example,dc=org'
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has a directory for it.

mod directory;

use std::{env, time::Duration};

use anyhow::Context;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Relay, ResolveLayer, Rules,
    Server, SystemResolver, TcpConnector, middleware::LockoutLayer,
    stages::authenticate::cache::AuthCacheLayer,
};
use tower::ServiceBuilder;

use directory::Directory;

const USAGE: &str = "usage: auth-ldap URL DN-WITH-{} [ADDR:PORT]";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let (url, dn) = args.next().zip(args.next()).context(USAGE)?;
    let directory = Directory::new(&url, &dn).context(USAGE)?;
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());

    let verifier = ServiceBuilder::new()
        .layer(LockoutLayer::new()) // an outage does not count as a failure
        // If the directory is down, nobody is let in who was not within the last minute.
        // `with_stale` makes more of it.
        .layer(AuthCacheLayer::new(Duration::from_secs(60)))
        .concurrency_limit(64)
        .timeout(Duration::from_secs(2)) // of a connection and a bind
        .service(directory);

    // Loopback only so that it can be tried without the Internet.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new());
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(verifier))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
