//! An error that cannot be boxed cannot be told.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let _ = ServiceBuilder::new();
    connects(service_fn(|_: Request| async {
        Err::<tokio::net::TcpStream, u32>(1)
    }));
}

fn connects(_: impl Connector<Request>) {}
