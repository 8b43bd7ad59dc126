//! A verifier takes an Attempt.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let _ = ServiceBuilder::new();
    let _ = AuthenticateLayer::password(service_fn(|_: u8| async {
        Ok::<_, BoxError>(Identity::new("joe"))
    }));
}
