//! How associations begin and end.

use std::time::Duration;

use socks_tower::{
    Accepted, AuthenticateLayer, ByCommand, End, ErrorKind, HandshakeLayer, NoAuth, ReplyCode,
    Session, UdpAssociate, stages::udp::AssociateError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::UdpSocket,
    time::advance,
};
use tower::{ServiceBuilder, ServiceExt};

use super::support::{Client, Proxy, echo, judge};

#[tokio::test]
async fn an_association_ends_with_its_connection() {
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    for (reset, end) in [(false, End::Closed), (true, End::ClientReset)] {
        let mut client = Client::new(&proxy).await;
        client.echo(&target.into(), target, b"hello").await;
        // What comes over the connection means nothing.
        client.control.write_all(&[0; 50_000]).await.unwrap();
        client.echo(&target.into(), target, b"hello").await;
        if reset {
            client.control.set_zero_linger().unwrap();
        } else {
            // Half of it will do.
            client.control.shutdown().await.unwrap();
            assert_eq!(client.control.read(&mut [0]).await.unwrap(), 0);
        }
        let relay = client.relay;
        drop(client);
        let transfer = proxy.ended().await.unwrap();
        assert_eq!(transfer.end, end);
        assert_eq!((transfer.up, transfer.down), (10, 10));
        // The port is free.
        UdpSocket::bind(relay).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_association_ends_though_its_connection_stands() {
    const MINUTE: Duration = Duration::from_secs(60);

    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    // As long as there is something to do, time stands still.
    let busy = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let client = Client::new(&proxy).await;
    for _ in 0..3 {
        advance(4 * MINUTE).await;
        client.echo(&target.into(), target, b"hello").await;
    }
    advance(4 * MINUTE).await;
    // Who keeps nothing alive.
    let _ = stranger.send_to(b"hello", client.relay).await;
    client.send_bytes(b"garbage").await;
    advance(MINUTE).await;

    let transfer = proxy.ended().await.unwrap();
    assert_eq!(transfer.end, End::IdleTimeout);
    assert_eq!(transfer.duration.as_secs() / 60, 12 + 5);
    busy.abort();
}

#[tokio::test]
async fn a_client_without_an_address_is_refused() {
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(UdpAssociate::new(judge()));
    let (mut client, io) = duplex(64);
    client
        .write_all(b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
        .await
        .unwrap();
    client.shutdown().await.unwrap();

    let error = proxy
        .oneshot(Accepted::new(io, Session::new()))
        .await
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.reply(), ReplyCode::CONNECTION_NOT_ALLOWED);
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.is::<AssociateError>());
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard[..4], [5, 0, 5, 2]);
}

#[tokio::test]
async fn other_commands_are_refused() {
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(UdpAssociate::new(judge()));
    let (mut client, io) = duplex(64);
    client
        .write_all(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    let session = Session::new().with_client_addr("127.0.0.1:9".parse().unwrap());
    let error = proxy.oneshot(Accepted::new(io, session)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Command);
}

#[tokio::test]
async fn socks4_has_no_command_3() {
    for words in [
        b"\x04\x03\x00\x50\x7f\x00\x00\x01\x00".as_slice(),
        b"\x04\x03\x00\x50\x00\x00\x00\x01\x00v4.example\x00",
    ] {
        let proxy = ServiceBuilder::new()
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .service(ByCommand::new().udp_associate(UdpAssociate::new(judge())));
        let (mut client, io) = duplex(64);
        client.write_all(words).await.unwrap();
        client.shutdown().await.unwrap();
        let session = Session::new().with_client_addr("127.0.0.1:9".parse().unwrap());
        let error = proxy.oneshot(Accepted::new(io, session)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Command);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"\x00\x5b\x00\x00\x00\x00\x00\x00");
    }
}
