//! It wants addresses, and there are none yet.
use std::task::{Context, Poll};

use socks_tower::*;
use tower::{Service, ServiceBuilder, layer::layer_fn};

#[derive(Clone)]
struct Logged<S>(S);

impl<S: Service<Request<Pinned>>> Service<Request<Pinned>> for Logged<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Pinned>) -> S::Future {
        self.0.call(request)
    }
}

fn main() {
    let connector = ServiceBuilder::new()
        .layer(layer_fn(Logged))
        .layer(ResolveLayer::new(SystemResolver::new()))
        .service(TcpConnector::new());
    let _ = ConnectLayer::new(connector);
}
