//! Tests of one's own parts, without a socket.

use std::convert::Infallible;

use socks_tower::{
    Accepted, AuthenticateLayer, BoxError, ConnectLayer, ErrorKind, HandshakeLayer,
    HttpConnectLayer, NoAuth, Proxy, Refusal, Relay, Request, Session, Target,
    test_util::{Client, replies},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// No mail, and nothing but the web.
async fn dial(request: Request) -> Result<DuplexStream, BoxError> {
    match request.target.port {
        25 => Err(Refusal::not_allowed("no mail"))?,
        80 => Ok(duplex(1).0),
        port => Err(format!("no {port}").into()),
    }
}

fn stack() -> impl Proxy<DuplexStream, Future: Send> + Clone {
    ServiceBuilder::new()
        .layer(HttpConnectLayer::open().or((HandshakeLayer::new(), AuthenticateLayer::new(NoAuth))))
        .layer(ConnectLayer::new(service_fn(dial)))
        .service(Relay::new())
}

fn target(port: u16) -> Target {
    format!("example.com:{port}").parse().unwrap()
}

#[tokio::test]
async fn what_a_client_hears_is_what_replies_says() {
    for (port, heard) in [(25, [2, 91, 403]), (443, [1, 91, 502])] {
        let request = Request::new(Session::new(), socks_tower::Command::CONNECT, target(port));
        let error = dial(request).await.unwrap_err();
        assert_eq!(replies(ErrorKind::Connect, error), heard);
        let clients = [
            Client::socks5(target(port)),
            Client::socks4(target(port)).unwrap(),
            Client::http(target(port)),
        ];
        for (client, code) in clients.into_iter().zip(heard) {
            assert_eq!(client.ask(stack()).await.reply, Some(code));
        }
    }
}

#[tokio::test]
async fn a_session_is_spawned_as_it_is() {
    let connector = service_fn(|_: Request| async { Err::<DuplexStream, BoxError>("no".into()) });
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let (mut client, io) = duplex(64);
    let session = tokio::spawn(proxy.oneshot(Accepted::new(io, Session::new())));
    client
        .write_all(b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50")
        .await
        .unwrap();
    let mut heard = [0; 4];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, [5, 0, 5, 1]);
    drop(client);
    assert_eq!(
        session.await.unwrap().unwrap_err().kind(),
        ErrorKind::Connect
    );
}

#[tokio::test]
async fn a_work_of_ones_own_is_asked_what_it_is_to_be_asked() {
    let session = Session::new();
    let asked = |port| Request::new(session.clone(), socks_tower::Command::CONNECT, target(port));
    let expected = asked(80);
    let work = service_fn(move |request: Request| {
        assert_eq!(request, expected);
        async { Ok::<_, Infallible>(()) }
    });
    work.oneshot(asked(80)).await.unwrap();
}
