//! What the layer says by itself, and what clients hear of it. No socket is opened.

use std::{convert::Infallible, sync::atomic::Ordering};

use layer_test::GateLayer;
use socks_tower::{
    AuthenticateLayer, BoxError, Command, ConnectLayer, ErrorKind, HandshakeLayer,
    HttpConnectLayer, NoAuth, Relay, Request, Session,
    test_util::{Client, replies},
};
use tokio::io::{DuplexStream, duplex};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A target that hangs up at once.
async fn dial(_: Request) -> Result<DuplexStream, Infallible> {
    Ok(duplex(1).0)
}

#[tokio::test]
async fn the_layer_alone() -> Result<(), BoxError> {
    let layer = GateLayer::default();
    let gate = ServiceBuilder::new().layer(layer.clone()).service_fn(dial);
    let ask = async |target: &str| {
        let request = Request::new(Session::new(), Command::CONNECT, target.parse()?);
        let answer = gate.clone().oneshot(request).await;
        Ok::<_, BoxError>(answer.err().map(|error| replies(ErrorKind::Connect, error)))
    };
    assert_eq!(ask("mail.example:443").await?, None);
    assert_eq!(ask("mail.example:25").await?, Some([2, 91, 403]));
    layer.maintenance.store(true, Ordering::Relaxed);
    assert_eq!(ask("mail.example:443").await?, Some([1, 91, 502]));
    assert_eq!(ask("192.0.2.1:25").await?, Some([1, 91, 502]));
    Ok(())
}

#[tokio::test]
async fn what_clients_hear() -> Result<(), BoxError> {
    let layer = GateLayer::default();
    let connector = ServiceBuilder::new()
        .layer(layer.clone())
        .service(service_fn(dial));
    let socks = (HandshakeLayer::new(), AuthenticateLayer::new(NoAuth));
    let proxy = ServiceBuilder::new()
        .layer(HttpConnectLayer::open().or(socks))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    for (maintenance, port, replies) in [
        (false, 443, [0, 90, 200]),
        (false, 25, [2, 91, 403]),
        (true, 443, [1, 91, 502]),
        (true, 25, [1, 91, 502]),
    ] {
        layer.maintenance.store(maintenance, Ordering::Relaxed);
        let target: socks_tower::Target = format!("mail.example:{port}").parse()?;
        let socks4 = Client::socks4(target.clone())?;
        let clients = [Client::socks5(target.clone()), socks4, Client::http(target)];
        for (client, reply) in clients.into_iter().zip(replies) {
            assert_eq!(client.ask(proxy.clone()).await.reply, Some(reply));
        }
    }
    Ok(())
}
