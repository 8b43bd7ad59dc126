//! UDP and BIND, by a proxy of ours and one of others.

use std::io;

use socks_tests::{
    client::assert_echoes,
    origin::{Origin, V4},
    patiently,
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, HandshakeLayer, NoAuth, Permit, Relay,
    ResolveLayer, Rules, Socks5Connector, SystemResolver, Target, UdpAssociate, UpstreamFailure,
    works::upstream::direct,
};
use tokio::net::{TcpStream, UdpSocket};
use tower::{Layer, ServiceBuilder};

/// A proxy of ours that serves both commands, and reaches loopback.
async fn both() -> Proxy {
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(Permit::new());
    let commands = ByCommand::new()
        .bind(BindLayer::new(judge.clone()).layer(Relay::new()))
        .udp_associate(UdpAssociate::new(judge));
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(commands);
    Proxy::spawn(stack).await
}

/// Sends datagrams back to where they come from.
pub(crate) async fn echo() -> (Target, tokio::task::JoinHandle<io::Result<()>>) {
    let socket = UdpSocket::bind((V4, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    let echoing = tokio::spawn(async move {
        let mut datagram = vec![0; 65_536];
        loop {
            let (len, from) = socket.recv_from(&mut datagram).await?;
            socket.send_to(&datagram[..len], from).await?;
        }
    });
    (addr.into(), echoing)
}

#[tokio::test]
async fn datagrams_go_to_addresses_and_names_and_come_back() {
    let proxy = both().await;
    let (target, _echoing) = echo().await;
    let by_name = Target::new(
        "localhost".parse::<socks_tower::DomainName>().unwrap(),
        target.port,
    );
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let socket = connector.associate().await.unwrap();
    assert_eq!(socket.relay_addr().unwrap().ip(), V4);
    let long = vec![7; 9000];
    for to in [&target, &by_name] {
        for payload in [&b"question"[..], b"", &long] {
            socket.send_to(payload, to).await.unwrap();
            let mut answer = vec![0; 65_536];
            let received = patiently("an answer", socket.recv_from(&mut answer)).await;
            let (len, from) = received.unwrap();
            assert_eq!(&answer[..len], payload);
            assert_eq!(from.port, target.port);
        }
    }
    // What there is no room for is lost, and nothing else.
    socket.send_to(b"question", &target).await.unwrap();
    socket.send_to(b"another", &target).await.unwrap();
    let mut short = [0; 4];
    let (len, _) = patiently("an answer", socket.recv_from(&mut short))
        .await
        .unwrap();
    assert_eq!(&short[..len], b"ques");
    let mut answer = [0; 64];
    let (len, _) = patiently("an answer", socket.recv_from(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer[..len], b"another");
}

#[tokio::test]
async fn an_association_that_the_proxy_ends_is_over() {
    let proxy = both().await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let socket = connector.associate().await.unwrap();
    // It cuts what it serves.
    drop(proxy);
    let ended = patiently("the end", socket.recv_from(&mut [0; 64]))
        .await
        .unwrap_err();
    let kind = ended.kind();
    assert!(matches!(
        kind,
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ));
}

#[tokio::test]
async fn a_stranger_s_datagrams_are_not_received() {
    let proxy = both().await;
    let (target, _echoing) = echo().await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let socket = connector.associate().await.unwrap();
    let stranger = UdpSocket::bind((V4, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let forged = b"\0\0\0\x01\xc0\0\x02\x01\0\x35forged";
    stranger.send_to(forged, (V4, port)).await.unwrap();
    socket.send_to(b"question", &target).await.unwrap();
    let mut answer = [0; 64];
    let (len, _) = patiently("an answer", socket.recv_from(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer[..len], b"question");
}

#[tokio::test]
async fn bind_takes_a_connection_in_two_steps() {
    let proxy = both().await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let listening = connector.bind(Target::new(V4, 0)).await.unwrap();
    let addr = listening.addr().socket_addr().unwrap();
    let (peer, accepted) = tokio::join!(TcpStream::connect(addr), listening.accept());
    let (upstream, from) = accepted.unwrap();
    let peer = peer.unwrap();
    assert_eq!(from, peer.local_addr().unwrap().into());
    // The peer says back what we say to it.
    let echoing = tokio::spawn(async move {
        let (mut from, mut to) = peer.into_split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let mut stream = upstream.io;
    assert_echoes(&mut stream, b"both ways").await;
    drop(stream);
    echoing.await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_serves_neither_says_so() {
    let target = Origin::echo(V4).await;
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(
            ByCommand::new().connect(socks_tower::ConnectLayer::new(direct()).layer(Relay::new())),
        );
    let proxy = Proxy::spawn(stack).await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let error = connector.associate().await.unwrap_err();
    assert_eq!(error.failure(), UpstreamFailure::RefusedTarget);
    assert_eq!(
        error.code(),
        Some(socks_tower::ReplyCode::COMMAND_NOT_SUPPORTED)
    );
    let error = connector.bind(target.addr().into()).await.unwrap_err();
    assert_eq!(
        error.code(),
        Some(socks_tower::ReplyCode::COMMAND_NOT_SUPPORTED)
    );
}
