//! An authorizer hands the request on.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(service_fn(
            |_: Request<Pinned>| async { Ok::<_, BoxError>(()) },
        )))
        .service(TcpConnector::new());
    let _ = ConnectLayer::new(connector);
}
