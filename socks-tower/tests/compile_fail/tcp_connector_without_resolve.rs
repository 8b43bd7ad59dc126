//! A name cannot be dialled.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let _ = ConnectLayer::new(TcpConnector::new());
    connects(TcpConnector::new());
    let _ = service_fn(|_: ()| async { Ok::<_, BoxError>(()) });
    let _ = ServiceBuilder::new();
}

fn connects(_: impl Connector<Request>) {}
