//! Where limits stand.

use std::io;

use socks_tower::{
    Accepted, AuthenticateLayer, ConnectLayer, Error, ErrorKind, HandshakeLayer, NoAuth, Proxy,
    Relay, Session, Socks,
    middleware::{LiveLimitLayer, Rate, RateLimitLayer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::proxy::{SOCKS5, target};

#[tokio::test]
async fn a_limit_per_identity_before_authentication_fails_every_session() {
    // It would count all as one: nobody can have an identity yet.
    let live = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_identity(1))
        .service(Socks::new());
    let rate = ServiceBuilder::new()
        .layer(RateLimitLayer::per_identity(Rate::per_second(1)))
        .service(Socks::new());
    let accepted = || Accepted::new(tokio::io::duplex(1).0, Session::new());
    for error in [
        live.oneshot(accepted()).await.unwrap_err(),
        rate.oneshot(accepted()).await.unwrap_err(),
    ] {
        assert!(
            error
                .get_ref()
                .unwrap()
                .to_string()
                .contains("before authentication")
        );
    }
}

#[tokio::test]
async fn a_limit_stands_around_a_proxy_or_not_as_an_option_says() {
    for limit in [None, Some(LiveLimitLayer::per_client(1))] {
        let proxy = ServiceBuilder::new()
            .option_layer(limit)
            .service(Socks::new());
        let accepted = Accepted::new(tokio::io::duplex(1).0, Session::new());
        let error: Error = proxy.oneshot(accepted).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClientGone);
    }
}

/// What a client hears that says this before it is turned away.
async fn turned_away(
    proxy: impl Proxy<TcpStream, Error = Error>,
    says: &[u8],
) -> io::Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    client.write_all(says).await?;
    let (io, _) = listener.accept().await?;
    if !says.is_empty() {
        io.readable().await?;
    }
    let error = proxy.oneshot(Accepted::new(io, Session::new())).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Limited);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await?;
    Ok(heard)
}

#[tokio::test]
async fn a_close_is_a_reset_for_a_client_whose_words_nobody_has_read() {
    let full = || LiveLimitLayer::overall(0);
    let in_front = || ServiceBuilder::new().layer(full()).service(Socks::new());
    assert_eq!(turned_away(in_front(), b"").await.unwrap(), b"");
    let reset = turned_away(in_front(), SOCKS5).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);

    let behind = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(full())
        .layer(ConnectLayer::new(service_fn(target)))
        .service(Relay::new());
    let heard = turned_away(behind, SOCKS5).await.unwrap();
    assert_eq!(heard, b"\x05\x00", "and no reply to the request");
}
