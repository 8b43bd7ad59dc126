//! Others than the client, who know the relay's port.

use std::net::SocketAddr;

use socks_tower::{Accepted, Target, UdpAssociate, session::DropReason};
use tokio::net::UdpSocket;

use super::support::{Client, Proxy, datagram, echo, judge};

async fn socket(ip: &str) -> UdpSocket {
    UdpSocket::bind((ip, 0)).await.unwrap()
}

/// A target that a test looks into.
async fn target() -> (UdpSocket, SocketAddr) {
    let target = socket("127.0.0.1").await;
    let addr = target.local_addr().unwrap();
    (target, addr)
}

/// What comes next at `target`.
async fn next(target: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 64];
    let (len, _) = target.recv_from(&mut bytes).await.unwrap();
    bytes[..len].to_vec()
}

#[tokio::test]
async fn another_address_can_neither_use_an_association_nor_take_it() {
    let (target, addr) = target().await;
    let attacker = socket("127.0.0.2").await;
    let evil = datagram(0, &addr.into(), b"evil");
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;

    // First, when no port is known yet; then again, when one is.
    attacker.send_to(&evil, client.relay).await.unwrap();
    client.send(&addr.into(), b"first").await;
    assert_eq!(next(&target).await, b"first");
    attacker.send_to(&evil, client.relay).await.unwrap();
    client.send(&addr.into(), b"second").await;
    assert_eq!(next(&target).await, b"second");

    drop(client);
    let transfer = proxy.ended().await.unwrap();
    let datagrams = transfer.datagrams.unwrap();
    assert_eq!(datagrams.up, 2);
    // The system may have turned the second one away.
    let counted = datagrams.dropped.of(DropReason::NotTheClient);
    assert!((1..=2).contains(&counted), "{counted}");
}

#[tokio::test]
async fn behind_a_load_balancer_the_client_is_whom_it_names() {
    let (target, addr) = target().await;
    let named = socket("127.0.0.2").await;
    // As a PROXY header that is believed sets it.
    let client_addr = named.local_addr().unwrap();
    let believing = move |mut accepted: Accepted<_>| {
        accepted.session.client_addr = Some(client_addr);
        accepted
    };
    let proxy = Proxy::start_behind(believing, UdpAssociate::new(judge())).await;
    let balancer = Client::new(&proxy).await;

    balancer.send(&addr.into(), b"evil").await;
    let hello = datagram(0, &addr.into(), b"hello");
    named.send_to(&hello, balancer.relay).await.unwrap();

    assert_eq!(next(&target).await, b"hello");
}

#[tokio::test]
async fn another_port_of_the_client_counts_for_nothing_once_one_is_seen() {
    let (target, addr) = target().await;
    let neighbour = socket("127.0.0.1").await;
    let evil = datagram(0, &addr.into(), b"evil");
    let proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;

    // What is no datagram of a client makes nobody one.
    neighbour.send_to(b"garbage", client.relay).await.unwrap();
    client.send(&addr.into(), b"first").await;
    assert_eq!(next(&target).await, b"first");
    neighbour.send_to(&evil, client.relay).await.ok();
    client.send(&addr.into(), b"second").await;
    assert_eq!(next(&target).await, b"second");
}

#[tokio::test]
async fn another_port_counts_for_nothing_once_one_is_declared() {
    let (target, addr) = target().await;
    let neighbour = socket("127.0.0.1").await;
    let own = socket("127.0.0.1").await;
    let declared = own.local_addr().unwrap();
    let proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::declaring(&proxy, own, declared.into())
        .await
        .unwrap();

    let evil = datagram(0, &addr.into(), b"evil");
    neighbour.send_to(&evil, client.relay).await.unwrap();
    client.send(&addr.into(), b"hello").await;
    assert_eq!(next(&target).await, b"hello");
}

#[tokio::test]
async fn declaring_anothers_address_gives_it_nothing() {
    // A victim would be sent what the client asks for; an accomplice could use
    // the client's association.
    let (target, addr) = target().await;
    let other = socket("127.0.0.2").await;
    let declared: Target = other.local_addr().unwrap().into();
    let proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::declaring(&proxy, socket("127.0.0.1").await, declared)
        .await
        .unwrap();

    let evil = datagram(0, &addr.into(), b"evil");
    other.send_to(&evil, client.relay).await.unwrap();
    client.send(&addr.into(), b"hello").await;
    assert_eq!(next(&target).await, b"hello");
    let echo = echo("127.0.0.1").await;
    client.echo(&echo.into(), echo, b"mine").await;
}

#[tokio::test]
async fn what_clients_declare_who_know_nothing_is_ignored() {
    let target = echo("127.0.0.1").await;
    let proxy = Proxy::start(UdpAssociate::new(judge())).await;
    // The second is what PySocks sends as a name.
    for declared in [
        "0.0.0.0:0",
        "0:0",
        "[::]:0",
        "10.0.0.7:4000",
        "host.example:4000",
    ] {
        let declared = declared.parse().unwrap();
        let client = Client::declaring(&proxy, socket("127.0.0.1").await, declared)
            .await
            .unwrap();
        client.echo(&target.into(), target, b"hello").await;
    }
    // PySocks' very bytes: a name of one byte.
    let own = socket("127.0.0.1").await;
    let mut control = tokio::net::TcpStream::connect(proxy.addr).await.unwrap();
    let request = b"\x05\x01\x00\x05\x03\x00\x03\x010\x00\x00";
    tokio::io::AsyncWriteExt::write_all(&mut control, request)
        .await
        .unwrap();
    let mut reply = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut control, &mut reply)
        .await
        .unwrap();
    let port = u16::from_be_bytes([reply[10], reply[11]]);
    let relay = SocketAddr::new(proxy.addr.ip(), port);
    let client = Client {
        control,
        socket: own,
        relay,
    };
    client.echo(&target.into(), target, b"hello").await;
}

#[tokio::test]
async fn only_those_who_were_asked_may_answer() {
    let (target, addr) = target().await;
    let (same_host, stranger) = (socket("127.0.0.1").await, socket("127.0.0.2").await);
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;
    client.send(&addr.into(), b"question").await;
    let (_, outward) = target.recv_from(&mut [0; 16]).await.unwrap();

    for other in [same_host, stranger] {
        other.send_to(b"evil", outward).await.unwrap();
    }
    target.send_to(b"answer", outward).await.unwrap();

    assert_eq!(client.receive().await, (addr, b"answer".to_vec()));
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!(
        (dropped.of(DropReason::Unsolicited), dropped.total()),
        (2, 2)
    );
}

#[tokio::test]
async fn in_a_full_cone_strangers_may_send_too() {
    let (target, addr) = target().await;
    let stranger = socket("127.0.0.2").await;
    let proxy = Proxy::start(UdpAssociate::new(judge()).with_full_cone(true)).await;
    let client = Client::new(&proxy).await;
    client.send(&addr.into(), b"hello").await;
    let (_, outward) = target.recv_from(&mut [0; 16]).await.unwrap();
    stranger.send_to(b"hi", outward).await.unwrap();
    let from = stranger.local_addr().unwrap();
    assert_eq!(client.receive().await, (from, b"hi".to_vec()));
}
