//! The crate `tokio-socks`.

use socks_tests::{
    client::assert_echoes,
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_socks::{
    Error, IntoTargetAddr, TargetAddr,
    tcp::{Socks4Listener, Socks4Stream, Socks5Listener, Socks5Stream},
};

use crate::{NAME, NAME_V6, NO_NAME, open, strict, with_password};

#[tokio::test]
async fn socks5_reaches_addresses_and_names() {
    let (v4, v6) = (Origin::echo(V4).await, Origin::echo(V6).await);
    let proxy = open().await;
    for target in [
        v4.addr().into_target_addr().unwrap(),
        v6.addr().into_target_addr().unwrap(),
        (NAME, v4.port()).into_target_addr().unwrap(),
        (NAME_V6, v6.port()).into_target_addr().unwrap(),
    ] {
        let mut stream = Socks5Stream::connect(proxy.addr(), target).await.unwrap();
        assert_echoes(&mut stream, b"by socks5").await;
    }
}

#[tokio::test]
async fn socks5_tells_the_local_address_of_its_socket() {
    let origin = Origin::serve(V4, |mut stream| async move {
        let peer = stream.peer_addr().unwrap().to_string();
        stream.write_all(peer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = open().await;
    let mut stream = Socks5Stream::connect(proxy.addr(), origin.addr())
        .await
        .unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.unwrap();
    let TargetAddr::Ip(bound) = stream.target_addr() else {
        panic!("a name");
    };
    assert_eq!(bound.to_string(), seen);
}

#[tokio::test]
async fn a_password_lets_in() {
    let origin = Origin::echo(V4).await;
    let proxy = with_password().await;
    let stream =
        Socks5Stream::connect_with_password(proxy.addr(), origin.addr(), "joe", "s3cret@!");
    assert_echoes(&mut stream.await.unwrap(), b"let in").await;
}

#[tokio::test]
async fn a_password_that_nobody_asks_for_is_not_minded() {
    let origin = Origin::echo(V4).await;
    let proxy = open().await;
    let stream = Socks5Stream::connect_with_password(proxy.addr(), origin.addr(), "joe", "any");
    assert_echoes(&mut stream.await.unwrap(), b"let in").await;
}

#[tokio::test]
async fn a_wrong_password_and_none_are_told_apart() {
    let origin = Origin::echo(V4).await;
    let proxy = with_password().await;
    let wrong = Socks5Stream::connect_with_password(proxy.addr(), origin.addr(), "joe", "guess");
    let error = wrong.await.unwrap_err();
    assert!(matches!(error, Error::PasswordAuthFailure(1)), "{error:?}");
    let none = Socks5Stream::connect(proxy.addr(), origin.addr());
    let error = none.await.unwrap_err();
    assert!(matches!(error, Error::NoAcceptableAuthMethods), "{error:?}");
}

#[tokio::test]
async fn socks5_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let proxy = open().await;
    let error = Socks5Stream::connect(proxy.addr(), closed.addr())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConnectionRefused), "{error:?}");
    let error = Socks5Stream::connect(proxy.addr(), (NO_NAME, 80))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::HostUnreachable), "{error:?}");
    let proxy = strict().await;
    for target in [
        closed.addr().to_string(),
        "localhost:80".into(),
        "[::1]:80".into(),
    ] {
        let error = Socks5Stream::connect(proxy.addr(), target)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::ConnectionNotAllowedByRuleset),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn commands_that_are_not_served_are_refused_as_such() {
    let proxy = open().await;
    let error = Socks5Listener::bind(proxy.addr(), "127.0.0.1:80")
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::CommandNotSupported), "{error:?}");
    let error = Socks5Stream::tor_resolve(proxy.addr(), (NAME, 0))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::CommandNotSupported), "{error:?}");
    let error = Socks4Listener::bind(proxy.addr(), "127.0.0.1:80")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, Error::GeneralSocksServerFailure),
        "{error:?}"
    );
}

#[tokio::test]
async fn socks4_and_4a_reach_addresses_and_names() {
    let (v4, v6) = (Origin::echo(V4).await, Origin::echo(V6).await);
    let proxy = open().await;
    for target in [
        v4.addr().into_target_addr().unwrap(),
        (NAME, v4.port()).into_target_addr().unwrap(),
        (NAME_V6, v6.port()).into_target_addr().unwrap(),
    ] {
        let plain = Socks4Stream::connect(proxy.addr(), target.clone());
        assert_echoes(&mut plain.await.unwrap(), b"by socks4").await;
        let claimed = Socks4Stream::connect_with_userid(proxy.addr(), target, "joe");
        assert_echoes(&mut claimed.await.unwrap(), b"by socks4").await;
    }
}

#[tokio::test]
async fn socks4_is_refused_with_91_whatever_the_reason() {
    let origin = Origin::echo(V4).await;
    let closed = ClosedPort::new();
    let (open, strict, guarded) = (open().await, strict().await, with_password().await);
    for (proxy, target) in [
        (open.addr(), closed.addr().into_target_addr().unwrap()),
        (open.addr(), (NO_NAME, 80).into_target_addr().unwrap()),
        (strict.addr(), origin.addr().into_target_addr().unwrap()),
        (guarded.addr(), origin.addr().into_target_addr().unwrap()),
    ] {
        let refused = Socks4Stream::connect_with_userid(proxy, target, "joe").await;
        let error = refused.unwrap_err();
        assert!(
            matches!(error, Error::GeneralSocksServerFailure),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_banner_of_the_target_is_not_lost() {
    let origin = Origin::banner(V4, "220 hello\r\n").await;
    let proxy = open().await;
    let mut stream = Socks5Stream::connect(proxy.addr(), origin.addr())
        .await
        .unwrap();
    let mut banner = [0; 11];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 hello\r\n");
    assert_echoes(&mut stream, b"EHLO").await;
}

#[tokio::test]
async fn much_goes_both_ways_at_once_and_ends_in_order() {
    let much = Content::mib(8);
    let origin = Origin::echo(V4).await;
    let proxy = open().await;
    let stream = Socks5Stream::connect(proxy.addr(), origin.addr());
    let (mut from, mut to) = stream.await.unwrap().into_inner().into_split();
    let sending = tokio::spawn(async move {
        for chunk in much.chunks() {
            to.write_all(&chunk).await.unwrap();
        }
        // The half is dropped, and with it this direction is shut down.
    });
    let mut echo = Vec::new();
    from.read_to_end(&mut echo).await.unwrap();
    much.assert_is(&echo);
    sending.await.unwrap();
}

#[tokio::test]
async fn a_reset_of_the_target_arrives_as_a_reset() {
    let origin = Origin::reset(V4).await;
    let proxy = open().await;
    let mut stream = Socks5Stream::connect(proxy.addr(), origin.addr())
        .await
        .unwrap();
    stream.write_all(b"x").await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
