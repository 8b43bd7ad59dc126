//! RateLimit is not Clone: it wants a Buffer outside.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let connector = ServiceBuilder::new()
        .rate_limit(1, std::time::Duration::from_secs(1))
        .service(service_fn(|_: Request| async {
            Ok::<_, BoxError>(tokio::io::duplex(1).0)
        }));
    connects(connector);
}

fn connects(_: impl Connector<Request>) {}
