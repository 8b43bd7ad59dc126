//! There is nothing to relay to.
use socks_tower::*;
use tower::ServiceBuilder;

async fn serve() {
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(Relay::new());
    let _ = Server::bind("127.0.0.1:0").await.unwrap().serve(proxy);
}

fn main() {}
