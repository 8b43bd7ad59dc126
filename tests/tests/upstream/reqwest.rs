//! Under reqwest, by a proxy of ours in the same process.
//!
//! Its `connector_layer` has no room for another connector: a layer answers with a
//! stream that reqwest alone can make.

use reqwest::{Certificate, Client, Proxy as ByProxy};
use socks_tests::{
    origin::{ClosedPort, Origin, V4},
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, ConnectLayer, HandshakeLayer, Relay, Socks5Connector, Users,
    works::upstream::direct,
};
use tower::ServiceBuilder;

use crate::hyper::{PAGE, Tls, joe, socks, users};

/// Whoever else is on this machine does not know it.
const LOGIN: &str = "reqwest:one-time";

#[tokio::test]
async fn reqwest_goes_through_our_connector_by_a_proxy_of_its_own() {
    let tls = Tls::new();
    let (plain, secure) = (Origin::http(V4, PAGE).await, tls.origin().await);

    // Nobody goes through but with the password that the connector has.
    let upstream = Proxy::spawn(socks().with_auth(AuthenticateLayer::password(users()))).await;
    let connector = Socks5Connector::new(upstream.addr().into(), direct()).with_credentials(joe());
    let own = Users::new().with("reqwest", "one-time").unwrap();
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(own))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let near = Proxy::spawn(stack).await;

    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = |login: &str| {
        let url = format!("socks5h://{login}@{}", near.addr());
        Client::builder()
            .proxy(ByProxy::all(url).unwrap())
            .tls_certs_only([Certificate::from_der(&tls.certificate).unwrap()])
            .build()
            .unwrap()
    };
    let ours = client(LOGIN);
    for (scheme, port) in [("http", plain.port()), ("https", secure.port())] {
        let url = format!("{scheme}://localhost:{port}/");
        let page = ours.get(url).send().await.unwrap().bytes().await.unwrap();
        PAGE.assert_is(&page);
    }

    let closed = format!("http://{}/", ClosedPort::new().addr());
    assert!(ours.get(closed).send().await.unwrap_err().is_connect());
    let plain = format!("http://{}/", plain.addr());
    let stranger = client("joe:secret").get(plain).send().await;
    assert!(stranger.unwrap_err().is_connect());
}
