//! A resolver answers addresses, and the target has the port.
use socks_tower::*;
use tower::service_fn;

fn main() {
    let _ = ResolveLayer::new(service_fn(|_: Request<DomainName>| async {
        Ok::<_, BoxError>(Vec::<std::net::SocketAddr>::new())
    }));
}
