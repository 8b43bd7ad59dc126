//! tonic's client through a proxy: it asks a server for its health.
//!
//! `cargo run -p grpc-client` starts both on loopback, and prints the answer.

use socks_tower::{Rules, Server, Socks, Socks5Connector, works::upstream::direct};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Whoever is asked: its messages come with a crate, so that no protoc is needed.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    // All is on loopback here, so let that pass.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let proxy = Server::bind("127.0.0.1:0").await?;
    let proxy_addr = proxy.local_addr();
    tokio::spawn(proxy.serve(Socks::new().with_rules(rules)));

    let connector = Socks5Connector::new(proxy_addr.into(), direct());
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    let channel = endpoint.connect_with_connector(connector).await?;
    let mut client = HealthClient::new(channel);
    let answer = client.check(HealthCheckRequest::default()).await?;
    println!("{:?}", answer.into_inner().status());
    Ok(())
}
