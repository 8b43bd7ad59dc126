//! What a relay is to carry out is set between the stages, not around a work.
use socks_tower::{
    middleware::{BandwidthLayer, ByteRate},
    *,
};
use tower::{ServiceBuilder, service_fn};

fn main() {
    let connector = ServiceBuilder::new()
        .layer(BandwidthLayer::per_tunnel(ByteRate::per_second(1_000_000)))
        .service(service_fn(|_: Request| async {
            Ok::<_, BoxError>(tokio::io::duplex(1).0)
        }));
    fn check(_: impl Connector<Request>) {}
    check(connector);
}
