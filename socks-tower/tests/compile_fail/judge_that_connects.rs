//! Who is asked about peers connects to none.
use socks_tower::*;
use tower::ServiceBuilder;

fn main() {
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(TcpConnector::new());
    let _ = BindLayer::new(connector);
}
