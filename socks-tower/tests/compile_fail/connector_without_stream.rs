//! A connector answers with a stream.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let _ = ServiceBuilder::new();
    connects(service_fn(|_: Request| async { Ok::<_, BoxError>(5_u8) }));
}

fn connects(_: impl Connector<Request>) {}
