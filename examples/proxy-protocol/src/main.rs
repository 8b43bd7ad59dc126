//! A SOCKS proxy behind a load balancer: it goes by where the clients are, not
//! by where the load balancer is.
//!
//! ```sh
//! cargo run -p proxy-protocol
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. Then, with what a load balancer on this machine would send:
//!
//! ```sh
//! { printf 'PROXY TCP4 192.0.2.7 127.0.0.1 50123 1080\r\n'
//!   printf '\5\1\0\5\1\0\3\13example.com\0\120'; sleep 3; } | nc 127.0.0.1 1080 | od -t x1
//! ```

use std::convert::Infallible;

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, NoAuth, Relay, Request,
    ResolveLayer, Rules, Server, SystemResolver, TcpConnector,
    front::proxy_protocol::{PeerAddr, ProxyProtocolLayer},
};
use tower::{ServiceBuilder, service_fn};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connector = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(service_fn(say_who)))
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(TcpConnector::new());

    let proxy = ServiceBuilder::new()
        // Only the load balancer is believed. Others speak plain SOCKS.
        .layer(ProxyProtocolLayer::new().with_trusted("127.0.0.1/32".parse()?))
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}

/// Lets everything through.
async fn say_who(request: Request) -> Result<Request, Infallible> {
    let session = &request.session;
    let client = session.client_addr;
    let balancer = session.extensions.get::<PeerAddr>();
    println!("{client:?} by way of {balancer:?} wants {}", request.target);
    Ok(request)
}
