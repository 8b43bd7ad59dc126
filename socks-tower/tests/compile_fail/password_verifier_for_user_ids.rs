//! A user id is no password: its verifier is another.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let _ = ServiceBuilder::new();
    let users = Users::new();
    let _ = AuthenticateLayer::password(users.clone()).with_user_ids(users);
    let _ = service_fn(|_: ()| async { Ok::<_, BoxError>(()) });
}
