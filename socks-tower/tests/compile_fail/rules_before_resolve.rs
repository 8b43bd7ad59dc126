//! Rules judge addresses, and there are none yet.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let connector = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(Rules::new()))
        .layer(ResolveLayer::new(SystemResolver::new()))
        .service(service_fn(|_: Request<Pinned>| async {
            Ok::<_, BoxError>(tokio::io::duplex(1).0)
        }));
    connects(connector);
}

fn connects(_: impl Connector<Request>) {}
