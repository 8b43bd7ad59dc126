//! A verifier answers an identity.
use socks_tower::*;
use tower::service_fn;

fn main() {
    let _ = AuthenticateLayer::password(service_fn(|_: Attempt| async {
        Ok::<_, BoxError>("joe".to_owned())
    }));
}
