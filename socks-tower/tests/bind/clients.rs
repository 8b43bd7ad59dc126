//! Every version, over IPv4 and IPv6, with nothing but public APIs.

use std::{collections::BTreeSet, net::SocketAddr};

use socks_tower::ListenAddrs;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_socks::{
    Error, TargetAddr,
    tcp::{socks4::Socks4Listener, socks5::Socks5Listener},
};

use crate::proxy;

pub(crate) fn socket_addr(addr: &TargetAddr<'_>) -> SocketAddr {
    match addr {
        TargetAddr::Ip(addr) => *addr,
        TargetAddr::Domain(name, _) => panic!("{name} is no address"),
    }
}

/// Both ends can speak, and hear when the other is done.
pub(crate) async fn speak(
    mut client: impl AsyncReadExt + AsyncWriteExt + Unpin,
    mut peer: TcpStream,
) {
    peer.write_all(b"from the peer").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"from the peer");
    client.write_all(b"from the client").await.unwrap();
    client.shutdown().await.unwrap();
    heard.clear();
    peer.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"from the client");
}

#[tokio::test]
async fn socks5_binds_for_addresses_names_and_anybody() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;
    for expected in ["127.0.0.1:21", "db.example:21", "0.0.0.0:0"] {
        let listener = Socks5Listener::bind(proxy, expected).await.unwrap();
        let bound = socket_addr(&listener.bind_addr());
        assert_eq!(bound.ip(), proxy.ip());

        let peer = TcpStream::connect(bound).await.unwrap();

        let client = listener.accept().await.unwrap();
        assert_eq!(
            socket_addr(&client.target_addr()),
            peer.local_addr().unwrap()
        );
        speak(client, peer).await;
    }
}

#[tokio::test]
async fn socks5_binds_over_ipv6() {
    let proxy = proxy("::1", ListenAddrs::new()).await;
    for expected in ["[::1]:21", "[::]:0"] {
        let expected: SocketAddr = expected.parse().unwrap();
        let listener = Socks5Listener::bind(proxy, expected).await.unwrap();
        let bound = socket_addr(&listener.bind_addr());
        assert_eq!(bound.ip(), proxy.ip());

        let peer = TcpStream::connect(bound).await.unwrap();

        let client = listener.accept().await.unwrap();
        speak(client, peer).await;
    }
}

#[tokio::test]
async fn a_client_on_ipv6_binds_for_a_peer_on_ipv4() {
    let proxy = proxy("::1", ListenAddrs::new()).await;
    let listener = Socks5Listener::bind(proxy, "127.0.0.1:21").await.unwrap();
    let bound = socket_addr(&listener.bind_addr());
    assert!(bound.is_ipv4());
    let peer = TcpStream::connect(bound).await.unwrap();
    speak(listener.accept().await.unwrap(), peer).await;
}

#[tokio::test]
async fn socks4_and_4a_bind_for_addresses_names_and_anybody() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;
    for expected in ["127.0.0.1:21", "db.example:21", "0.0.0.0:0"] {
        let listener = Socks4Listener::bind(proxy, expected).await.unwrap();
        let bound = socket_addr(&listener.bind_addr());
        assert_eq!(bound.ip(), proxy.ip());

        let peer = TcpStream::connect(bound).await.unwrap();

        speak(listener.accept().await.unwrap(), peer).await;
    }
}

#[tokio::test]
async fn a_denied_peer_is_refused_at_once() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;
    let denied = Socks5Listener::bind(proxy, "10.0.0.1:21").await;
    assert!(matches!(denied, Err(Error::ConnectionNotAllowedByRuleset)));
    assert!(Socks4Listener::bind(proxy, "10.0.0.1:21").await.is_err());
}

/// Two ports that are free now, one next to the other.
async fn two_ports() -> std::ops::RangeInclusive<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).await.is_ok() {
            return port..=port + 1;
        }
    }
    panic!("no two ports are free");
}

#[tokio::test]
async fn a_range_of_ports_is_kept_to_and_its_ports_come_free_again() {
    let ports = two_ports().await;
    let listen = ListenAddrs::new().with_ports(ports.clone());
    let proxy = proxy("127.0.0.1", listen).await;
    let bind = || Socks5Listener::bind(proxy, "127.0.0.1:21");

    let (first, second) = (bind().await.unwrap(), bind().await.unwrap());
    let used = [&first, &second].map(|listener| socket_addr(&listener.bind_addr()));
    let used_ports: BTreeSet<u16> = used.iter().map(SocketAddr::port).collect();
    assert_eq!(used_ports, ports.collect());
    assert!(matches!(
        bind().await.map(drop),
        Err(Error::GeneralSocksServerFailure)
    ));

    // The peer has come, so the port is free for the next.
    let peer = TcpStream::connect(used[0]).await.unwrap();
    let client = first.accept().await.unwrap();
    let third = bind().await.unwrap();
    assert_eq!(socket_addr(&third.bind_addr()), used[0]);
    speak(client, peer).await;
}
