//! Through other proxies: our connectors under the clients and before the servers of
//! other crates, and in chains.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod chain;
mod datagrams;
mod hyper;
mod reqwest;
mod servers;
mod wrapped;

use std::net::SocketAddr;

use socks_tests::{client::assert_echoes, patiently};
use socks_tower::{BoxError, Command, Connector, IntoOutbound, Outbound, Request, Session, Target};
use tokio::net::TcpStream;

/// Connects to `target` by `connector`.
async fn connect<C: Connector<Request>>(
    connector: &C,
    target: impl Into<Target>,
) -> Result<Outbound<C::Io>, BoxError> {
    let request = Request::new(Session::new(), Command::CONNECT, target.into());
    let connecting = connector.clone().run(request);
    Ok(patiently("a connection", connecting).await?.into_outbound())
}

/// Connects to the echo at `target`, and tries whether it is one.
async fn assert_reaches<C: Connector<Request, Io = TcpStream>>(connector: &C, target: SocketAddr) {
    let mut upstream = connect(connector, target).await.unwrap();
    assert_echoes(&mut upstream.io, b"through a proxy").await;
}
