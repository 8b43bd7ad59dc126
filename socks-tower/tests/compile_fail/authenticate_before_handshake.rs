//! The client has not greeted yet.
use socks_tower::*;
use tower::{ServiceBuilder, service_fn};

async fn serve() {
    let proxy = ServiceBuilder::new()
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(HandshakeLayer::new())
        .layer(ConnectLayer::new(service_fn(|_: Request| async {
            Ok::<_, BoxError>(tokio::io::duplex(1).0)
        })))
        .service(Relay::new());
    let _ = Server::bind("127.0.0.1:0").await.unwrap().serve(proxy);
}

fn main() {}
