//! The crate `fast-socks5`. Its client offers "no authentication" beside a
//! password, always. (Its SOCKS4 client sends a buffer of 260 bytes whatever
//! the request, and reads two bytes of the reply's eight: no server gets on
//! with it.)

use fast_socks5::{
    ReplyError, Socks5Command, SocksError,
    client::{Config, Socks5Stream},
};
use socks_tests::{
    client::assert_echoes,
    origin::{ClosedPort, Origin, V4, V6},
    proxy::Proxy,
};
use tokio::net::TcpStream;

use crate::{NAME, NAME_V6, NO_NAME, open, strict, with_password};

type Tunnel = Result<Socks5Stream<TcpStream>, SocksError>;

async fn connect(proxy: &Proxy, host: &str, port: u16) -> Tunnel {
    Socks5Stream::connect(proxy.addr(), host.into(), port, Config::default()).await
}

async fn log_in(proxy: &Proxy, password: &str, target: &Origin) -> Tunnel {
    let (ip, port) = (target.addr().ip().to_string(), target.port());
    let (name, password) = ("joe".into(), password.into());
    Socks5Stream::connect_with_password(proxy.addr(), ip, port, name, password, Config::default())
        .await
}

#[tokio::test]
async fn addresses_and_names_are_reached() {
    let (v4, v6) = (Origin::echo(V4).await, Origin::echo(V6).await);
    let proxy = open().await;
    for (host, port) in [
        ("127.0.0.1", v4.port()),
        ("::1", v6.port()),
        (NAME, v4.port()),
        (NAME_V6, v6.port()),
    ] {
        let tunnel = connect(&proxy, host, port).await;
        assert_echoes(tunnel.unwrap().get_socket_mut(), b"by fast-socks5").await;
    }
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_does_not() {
    let origin = Origin::echo(V4).await;
    let proxy = with_password().await;
    let tunnel = log_in(&proxy, "s3cret@!", &origin).await;
    assert_echoes(tunnel.unwrap().get_socket_mut(), b"let in").await;
    for wrong in ["guess", "", "s3cret@", "s3cret@!!"] {
        let error = log_in(&proxy, wrong, &origin).await.unwrap_err();
        assert!(
            matches!(error, SocksError::AuthenticationRejected(_)),
            "{error:?}"
        );
    }
    let error = connect(&proxy, NAME, origin.port()).await.unwrap_err();
    let SocksError::AuthMethodUnacceptable(methods) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(methods, &[0xff]);
}

#[tokio::test]
async fn a_proxy_without_users_chooses_no_authentication_of_two_methods() {
    let origin = Origin::echo(V4).await;
    let proxy = open().await;
    let tunnel = log_in(&proxy, "any", &origin).await;
    assert_echoes(tunnel.unwrap().get_socket_mut(), b"let in").await;
}

#[tokio::test]
async fn the_reply_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let (open, strict) = (open().await, strict().await);
    let reply = |tunnel: Tunnel| match tunnel.unwrap_err() {
        SocksError::ReplyError(reply) => reply.as_u8(),
        error => panic!("{error:?}"),
    };
    let refused = connect(&open, "127.0.0.1", closed.addr().port()).await;
    assert_eq!(reply(refused), ReplyError::ConnectionRefused.as_u8());
    let unknown = connect(&open, NO_NAME, 80).await;
    assert_eq!(reply(unknown), ReplyError::HostUnreachable.as_u8());
    let denied = connect(&strict, "localhost", closed.addr().port()).await;
    assert_eq!(reply(denied), ReplyError::ConnectionNotAllowed.as_u8());
    let (command, host) = (Socks5Command::TCPBind, "127.0.0.1".into());
    let bind =
        Socks5Stream::connect_raw(command, open.addr(), host, 80, None, Config::default()).await;
    assert_eq!(reply(bind), ReplyError::CommandNotSupported.as_u8());
}
