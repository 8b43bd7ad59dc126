//! A proxy around a resolver, and its clients.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use socks_tower::{
    Accepted, AuthenticateLayer, AuthorizeLayer, BoxError, Command, ConnectLayer, DnsResolver,
    DomainName, HandshakeLayer, HttpConnectLayer, NoAuth, Pinned, Relay, Request, ResolveLayer,
    Rules, Session,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// What is looked up by whom.
pub(crate) fn asked_by(client: u32, name: &str) -> Request<DomainName> {
    let ip = IpAddr::from(std::net::Ipv4Addr::from_bits(client));
    let session = Session::new().with_client_addr((ip, 1).into());
    Request::new(session, Command::CONNECT, DomainName::new(name).unwrap())
}

/// Looks `name` up.
pub(crate) async fn look_up(resolver: &DnsResolver, name: &str) -> Result<Vec<IpAddr>, BoxError> {
    let answer = resolver.clone().oneshot(asked_by(1, name)).await?;
    Ok(answer.addrs().to_vec())
}

/// As text, in order.
pub(crate) async fn found(resolver: &DnsResolver, name: &str) -> Vec<String> {
    let addrs = look_up(resolver, name).await.unwrap();
    addrs.iter().map(ToString::to_string).collect()
}

/// The addresses that were dialled for a client of SOCKS5, and the code that it heard.
pub(crate) async fn socks5(resolver: &DnsResolver, name: &str) -> (Vec<SocketAddr>, u8) {
    let mut words = b"\x05\x01\x00\x05\x01\x00\x03".to_vec();
    words.push(u8::try_from(name.len()).unwrap());
    words.extend(name.as_bytes());
    words.extend(80_u16.to_be_bytes());
    let (dialled, heard) = talk(resolver, &words).await;
    (dialled, heard[3])
}

/// What clients of SOCKS5, SOCKS4a and HTTP hear: reply codes and a status.
pub(crate) async fn all_hear(resolver: &DnsResolver, name: &str) -> (u8, u8, String) {
    let (_, by_socks5) = socks5(resolver, name).await;
    let socks4a = [
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00",
        name.as_bytes(),
        b"\0",
    ]
    .concat();
    let (_, by_socks4a) = talk(resolver, &socks4a).await;
    let http = format!("CONNECT {name}:80 HTTP/1.1\r\nHost: {name}:80\r\n\r\n");
    let (_, by_http) = talk(resolver, http.as_bytes()).await;
    let status = String::from_utf8(by_http[9..12].to_vec()).unwrap();
    (by_socks5, by_socks4a[1], status)
}

async fn talk(resolver: &DnsResolver, words: &[u8]) -> (Vec<SocketAddr>, Vec<u8>) {
    let dialled = Arc::<Mutex<Vec<SocketAddr>>>::default();
    let (mut client, io) = duplex(4096);
    client.write_all(words).await.unwrap();
    client.shutdown().await.unwrap();
    let proxy = proxy(resolver.clone(), dialled.clone());
    let accepted = Accepted::new(io, asked_by(1, "any").session);
    let mut heard = Vec::new();
    let (_, read) = tokio::join!(proxy.oneshot(accepted), client.read_to_end(&mut heard));
    read.unwrap();
    let dialled = dialled.lock().unwrap().clone();
    (dialled, heard)
}

fn proxy(
    resolver: DnsResolver,
    dialled: Arc<Mutex<Vec<SocketAddr>>>,
) -> impl Service<Accepted<DuplexStream>, Error = socks_tower::Error> {
    let dial = service_fn(move |request: Request<Pinned>| {
        dialled.lock().unwrap().extend(request.target.addrs());
        async { Ok::<_, BoxError>(duplex(1).0) }
    });
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(dial);
    let socks = (HandshakeLayer::new(), AuthenticateLayer::new(NoAuth));
    ServiceBuilder::new()
        .layer(HttpConnectLayer::open().or(socks))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}
