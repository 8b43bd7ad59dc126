//! A SOCKS proxy that asks another program who may come: PAM, and what else speaks
//! Squid's protocol.
//!
//! ```sh
//! cargo run -p auth-program -- 127.0.0.1:1080 /usr/lib/squid/basic_pam_auth -n login
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has more.

mod program;

use std::{env, time::Duration};

use anyhow::Context;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Relay, ResolveLayer, Rules,
    Server, SystemResolver, TcpConnector, middleware::LockoutLayer,
    stages::authenticate::cache::AuthCacheLayer,
};
use tower::ServiceBuilder;

use program::Program;

const USAGE: &str = "usage: auth-program ADDR:PORT PROGRAM [ARG...]";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let addr = args.next().context(USAGE)?;
    let program = Program::new(args.collect(), 8);

    // If the program is in trouble, nobody is let in who was not within the last minute.
    let verifier = ServiceBuilder::new()
        .layer(LockoutLayer::new())
        .layer(AuthCacheLayer::new(Duration::from_secs(60)))
        // PAM takes two seconds or three for a no. Waiting for a turn counts.
        .timeout(Duration::from_secs(5))
        .service(program);

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
