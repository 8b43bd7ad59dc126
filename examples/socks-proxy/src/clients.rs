//! How clients come in: with a password, by a certificate, or from where none is asked for.

use socks_tower::{
    AuthMethod, AuthenticateLayer, BoxError, HttpConnectLayer, IpNet, NoAuth, Session,
    UsernamePassword, Users, middleware::LockoutLayer,
};
use tower::ServiceBuilder;

use crate::{config::Config, users};

/// By SOCKS and by HTTP.
pub fn layers(
    config: &Config,
    users: Option<users::Users>,
    lockout: Option<LockoutLayer>,
) -> (AuthenticateLayer, HttpConnectLayer) {
    let nets: Vec<IpNet> = config.open_to.iter().map(|net| net.0).collect();
    let is_open_to = move |session: &Session| {
        let ip = session.client_addr.map(|addr| addr.ip().to_canonical());
        // A certificate has said who it is.
        session.identity.is_some() || ip.is_some_and(|ip| nets.iter().any(|net| net.contains(&ip)))
    };
    let Some(users) = users else {
        if config.open_to.is_empty() {
            return (AuthenticateLayer::new(NoAuth), HttpConnectLayer::open());
        }
        let http = HttpConnectLayer::password(Users::new()).with_open_to(is_open_to.clone());
        return (AuthenticateLayer::new(NoAuth.offered_if(is_open_to)), http);
    };
    // One record of wrong passwords, whichever way they come.
    let verifier = ServiceBuilder::new()
        .option_layer(lockout)
        .map_err(BoxError::from)
        .service(users.verifier());
    let http = HttpConnectLayer::password(verifier.clone()).with_open_to(is_open_to.clone());
    // Who can give a password is asked for it, wherever it is.
    let password = UsernamePassword::new(verifier);
    let socks = AuthenticateLayer::new(password).or(NoAuth.offered_if(is_open_to));
    (socks, http)
}
