//! A SOCKS proxy that limits what each user may do.
//!
//! ```sh
//! cargo run -p rate-limit
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The users are `ann` and `joe`, and
//! their passwords are `secret`. The README has the commands that show it.

use std::time::Duration;

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Relay, ResolveLayer, Rules,
    Server, SystemResolver, TcpConnector, Users,
    middleware::{LiveLimitLayer, Rate, RateLimitLayer},
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let users = Users::new().with("ann", "secret")?.with("joe", "secret")?;

    // Around the connector it is known who asks, and a refusal is a reply.
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::per_identity(
            Rate::per_second(1).with_burst(3),
        ))
        .layer(LiveLimitLayer::per_identity(10))
        .timeout(Duration::from_secs(10))
        .layer(ResolveLayer::new(SystemResolver::new()))
        // Only so that it can be tried without the Internet.
        .layer(AuthorizeLayer::new(
            Rules::new().permit_special("127.0.0.0/8".parse()?),
        ))
        .service(TcpConnector::new());

    let proxy = ServiceBuilder::new()
        // Before the handshake a client is known by its address alone. What is
        // too much waits for two seconds, and is hung up on then.
        .layer(RateLimitLayer::per_client(Rate::per_second(50)).with_wait(Duration::from_secs(2)))
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(users))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
