//! Rules judge addresses, also those of datagrams.
use socks_tower::*;
use tower::ServiceBuilder;

fn main() {
    let judge = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(Permit::new());
    let _ = UdpAssociate::new(judge);
}
