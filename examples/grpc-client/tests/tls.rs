//! The same through TLS.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use socks_tower::{Rules, Server, Socks, Socks5Connector, works::upstream::direct};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::test]
async fn a_server_within_tls_is_asked_through_a_proxy() -> anyhow::Result<()> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let identity = Identity::from_pem(cert.pem(), signing_key.serialize_pem());
    let server = tonic::transport::Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let proxy = Server::bind("127.0.0.1:0").await?;
    let proxy_addr = proxy.local_addr();
    let rules = Rules::new().permit_all_special();
    tokio::spawn(proxy.serve(Socks::new().with_rules(rules)));

    let connector = Socks5Connector::new(proxy_addr.into(), direct());
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(cert.pem()));
    let endpoint = Endpoint::from_shared(format!("https://localhost:{port}"))?.tls_config(tls)?;
    let channel = endpoint.connect_with_connector(connector).await?;
    let mut client = HealthClient::new(channel);
    let answer = client.check(HealthCheckRequest::default()).await?;
    assert_eq!(answer.into_inner().status().as_str_name(), "SERVING");
    Ok(())
}
