//! A SOCKS and HTTP proxy within TLS: passwords do not cross the network in
//! clear.
//!
//! ```sh
//! cargo run -p tls
//! ```
//!
//! It writes its certificate to `proxy.pem`, and says how to use it. A
//! real one would read certificate and key from files.

use std::{fs, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, HttpConnectLayer, Relay,
    ResolveLayer, Rules, Server, SystemResolver, TcpConnector, Users, front::tls::TlsLayer,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(TcpConnector::new());

    let users = Users::new().with("joe", "secret")?;
    let socks = (
        HandshakeLayer::new(),
        AuthenticateLayer::password(users.clone()),
    );

    let proxy = ServiceBuilder::new()
        .layer(TlsLayer::new(Arc::new(config()?))) // all that follows is encrypted
        .layer(HttpConnectLayer::password(users).or(socks))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind("127.0.0.1:1080").await?;
    println!("curl --proxy-cacert proxy.pem --proxy-user joe:secret --proxytunnel \\");
    println!("     --proxy https://localhost:1080 https://example.com/");
    server.serve(proxy).await?;
    Ok(())
}

/// TLS with a certificate of our own, for `localhost`.
fn config() -> anyhow::Result<ServerConfig> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()])?;
    fs::write("proxy.pem", cert.pem())?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.into()], key)?;
    Ok(config)
}
