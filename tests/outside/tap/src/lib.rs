//! A SOCKS5 proxy that logs whom its clients ask for by TLS or HTTP, and ends tunnels to some.

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, Direction, Group, HandshakeLayer, Host, Look,
    NoAuth, Proxy, Relay, Request, ResolveLayer, Rules, SystemResolver, TcpConnector, Versions,
    middleware::tap::{Gather, Opening, TapLayer},
};
use tokio::net::TcpStream;
use tower::ServiceBuilder;

/// The proxy: `blocked` are hosts and domains; `rules` are about addresses.
pub fn proxy(blocked: Group, rules: Rules) -> impl Proxy<TcpStream> {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new());
    ServiceBuilder::new()
        .layer(HandshakeLayer::new().with_versions(Versions::SOCKS5))
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(tap(blocked))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

fn tap(blocked: Group) -> TapLayer {
    TapLayer::new(move |_: &Request| {
        let blocked = blocked.clone();
        Some(Gather::new(Direction::Up, Opening::MOST, move |bytes| {
            let host = match Opening::of(bytes) {
                None => return Look::Hold,
                Some(Opening::Tls { server_name, .. }) => server_name.map(Host::Name),
                Some(Opening::Http { host, .. }) => host,
                Some(_) => None,
            };
            let Some(host) = host else {
                return Look::Enough;
            };
            tracing::info!(%host);
            match blocked.contains(&host) {
                true => Look::End,
                false => Look::Enough,
            }
        }))
    })
}
