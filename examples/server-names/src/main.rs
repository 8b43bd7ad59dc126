//! A SOCKS proxy that logs whom TLS and HTTP clients ask for, and ends the sessions
//! of those that ask for `blocked.example`.
//!
//! ```sh
//! cargo run -p server-names
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`, and a line for each name. The README has
//! the commands that show it.

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, Direction, HandshakeLayer, Host, Look, NoAuth,
    Relay, Request, ResolveLayer, Rules, Server, SystemResolver, Tap, TcpConnector,
    middleware::tap::{Gather, Opening, TapLayer},
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().without_time().init();

    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        // Only so that it can be tried without the Internet.
        .layer(AuthorizeLayer::new(
            Rules::new().permit_special("127.0.0.0/8".parse()?),
        ))
        .service(TcpConnector::new());

    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(TapLayer::new(|_: &Request| Some(names())))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}

/// Looks at what a client says first, until that says whom it asks for.
fn names() -> impl Tap {
    Gather::new(Direction::Up, Opening::MOST, |bytes| {
        let Some(opening) = Opening::of(bytes) else {
            // The target hears nothing until then.
            return Look::Hold;
        };
        let (protocol, name) = match opening {
            Opening::Tls { server_name, .. } => ("tls", server_name.map(Host::from)),
            Opening::Http { host, .. } => ("http", host),
            _ => ("other", None),
        };
        // The span of the session is around it, with client and target.
        tracing::info!(protocol, name = name.as_ref().map(display));
        match name {
            Some(Host::Name(name)) if name.is_within("blocked.example") => Look::End,
            _ => Look::Enough,
        }
    })
}
