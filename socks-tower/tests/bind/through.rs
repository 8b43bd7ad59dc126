//! BIND through another proxy: ours, by SOCKS5 and SOCKS4.

use std::net::SocketAddr;

use socks_tower::{
    AuthenticateLayer, BindLayer, ByCommand, Connector, HandshakeLayer, ListenAddrs, Match,
    NameRules, NoAuth, Relay, Request, Rules, Server, Socks4Connector, Socks5Connector,
    works::upstream::direct,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_socks::{
    Error,
    tcp::{socks4::Socks4Listener, socks5::Socks5Listener},
};
use tower::ServiceBuilder;

use crate::{
    clients::{socket_addr, speak},
    proxy,
};

fn rules() -> Rules {
    Rules::new().permit_special("127.0.0.0/8".parse().unwrap())
}

/// A proxy whose BIND goes through `connector`.
async fn through(rules: Rules, connector: impl Connector<Request>) -> SocketAddr {
    let bind = BindLayer::through(NameRules::new(rules), connector);
    let bind = ServiceBuilder::new().layer(bind).service(Relay::new());
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(ByCommand::new().bind(bind));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(stack));
    addr
}

fn socks5(upstream: SocketAddr) -> Socks5Connector<impl Connector<Request, Io = TcpStream>> {
    Socks5Connector::new(upstream.into(), direct())
}

#[tokio::test]
async fn a_peer_comes_to_the_upstream_and_reaches_the_client() {
    let inner = proxy("127.0.0.1", ListenAddrs::new()).await;
    let by_socks5 = through(rules(), socks5(inner)).await;
    let by_socks4 = through(rules(), Socks4Connector::new(inner.into(), direct())).await;
    for outer in [by_socks5, by_socks4] {
        // The name is known to the upstream alone.
        for expected in ["127.0.0.1:21", "db.example:21", "0.0.0.0:0"] {
            let listener = Socks5Listener::bind(outer, expected).await.unwrap();
            let peer = TcpStream::connect(socket_addr(&listener.bind_addr()))
                .await
                .unwrap();
            let client = listener.accept().await.unwrap();
            let addr = peer.local_addr().unwrap();
            assert_eq!(socket_addr(&client.target_addr()), addr);
            speak(client, peer).await;

            let listener = Socks4Listener::bind(outer, expected).await.unwrap();
            let peer = TcpStream::connect(socket_addr(&listener.bind_addr()))
                .await
                .unwrap();
            speak(listener.accept().await.unwrap(), peer).await;
        }
    }
}

#[tokio::test]
async fn rules_are_asked_about_who_is_expected_and_about_anybody_who_comes() {
    let inner = proxy("127.0.0.1", ListenAddrs::new()).await;
    let strict = rules().deny(Match::any().network("127.0.0.1/32".parse().unwrap()));
    let outer = through(strict, socks5(inner)).await;
    for denied in ["10.0.0.1:21", "127.0.0.1:21", "localhost:21"] {
        let denied = Socks5Listener::bind(outer, denied).await;
        assert!(matches!(denied, Err(Error::ConnectionNotAllowedByRuleset)));
    }
    let listener = Socks5Listener::bind(outer, "0.0.0.0:0").await.unwrap();
    let mut peer = TcpStream::connect(socket_addr(&listener.bind_addr()))
        .await
        .unwrap();
    assert!(listener.accept().await.is_err());
    assert_eq!(peer.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn what_the_upstream_says_to_either_step_is_what_the_client_hears() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outer = through(rules(), socks5(upstream.local_addr().unwrap())).await;
    let answer = async |answer: &[u8]| {
        let (mut io, _) = upstream.accept().await.unwrap();
        let mut hello = [0; 3];
        io.read_exact(&mut hello).await.unwrap();
        io.write_all(b"\x05\x00").await.unwrap();
        let mut request = [0; 10];
        io.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"\x05\x02\x00\x01\x7f\0\0\x01\0\x15");
        io.write_all(answer).await.unwrap();
        io
    };
    let bind = || Socks5Listener::bind(outer, "127.0.0.1:21");
    let (refused, _io) = tokio::join!(bind(), answer(b"\x05\x07\0\x01\0\0\0\0\0\0"));
    assert!(matches!(refused.map(drop), Err(Error::CommandNotSupported)));

    let granted = b"\x05\0\0\x01\0\0\0\0\x04\x38";
    let (listener, mut io) = tokio::join!(bind(), answer(granted));
    let listener = listener.unwrap();
    // An unspecified address is the upstream's own, and not ours.
    assert_eq!(
        socket_addr(&listener.bind_addr()),
        ([127, 0, 0, 1], 1080).into()
    );
    io.write_all(b"\x05\x06\0\x01\0\0\0\0\0\0").await.unwrap();
    assert!(matches!(
        listener.accept().await.map(drop),
        Err(Error::TtlExpired)
    ));

    // Somebody else than was expected.
    let (listener, mut io) = tokio::join!(bind(), answer(granted));
    io.write_all(b"\x05\0\0\x01\x7f\0\0\x07\0\x15")
        .await
        .unwrap();
    assert!(listener.unwrap().accept().await.is_err());

    // The client goes while the upstream waits.
    let (listener, mut io) = tokio::join!(bind(), answer(granted));
    drop(listener);
    assert_eq!(io.read(&mut [0]).await.unwrap_or(0), 0);
    // And the upstream goes.
    let (listener, io) = tokio::join!(bind(), answer(granted));
    drop(io);
    assert!(listener.unwrap().accept().await.is_err());
}
