//! The proxy itself: a stack of layers.

use std::sync::Once;

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer, Error, ErrorKind, HandshakeLayer,
    NoAuth, Proxy, Relay, ResolveLayer, Rules, SystemResolver, TcpConnector, Users,
};
use tokio::net::TcpStream;
use tower::ServiceBuilder;

use crate::args::Args;

pub fn stack(
    args: &Args,
    users: Option<Users>,
    max_connections: usize,
) -> impl Proxy<TcpStream> + Clone + Send + use<> {
    let rules = if args.allow_private {
        Rules::new().permit_all_special()
    } else {
        Rules::new()
    };

    // How targets are reached.
    let connector = ServiceBuilder::new()
        .timeout(args.connect_timeout())
        .layer(ResolveLayer::new(SystemResolver::new()))
        .map_err(explain_denial)
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new());

    let authenticate = match users {
        Some(users) => AuthenticateLayer::password(users),
        None => AuthenticateLayer::new(NoAuth),
    };

    // What happens to a client.
    ServiceBuilder::new()
        // Taken before accept, held until the session ends.
        .concurrency_limit(max_connections)
        .layer(HandshakeLayer::new().with_timeout(args.handshake_timeout()))
        .layer(authenticate)
        .layer(ConnectLayer::new(connector))
        .service(Relay::new().with_idle_timeout(args.idle_timeout()))
}

/// Tells, once at a level that is seen and then at one that is not, how a
/// denied target can be let through.
fn explain_denial(error: BoxError) -> BoxError {
    static FIRST: Once = Once::new();

    let denied = error
        .downcast_ref::<Error>()
        .filter(|error| error.kind() == ErrorKind::Denied);
    if let Some(reason) = denied.and_then(std::error::Error::source) {
        FIRST.call_once(
            || tracing::warn!(%reason, "target denied; --allow-private lets such targets through"),
        );
        tracing::debug!(%reason, "target denied; --allow-private lets such targets through");
    }
    error
}
