//! A SOCKS5 proxy whose users belong to tenants.

use std::{collections::HashMap, sync::Arc};

use socks_tower::{
    Admitted, Attempt, AuthenticateLayer, Error, Identity, Match, Password, Proxy, Rules, Session,
    Socks5, Stream, middleware::LiveLimitLayer,
};
use tower::service_fn;

/// How many connections a tenant may have at once, all of its users together.
pub const MAX_LIVE: usize = 2;

/// Whose user a client is: the verifier leaves it in the session.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenant(pub Arc<str>);

/// A user's password and tenant, by the user's name.
pub type Users = HashMap<String, (Password, Tenant)>;

/// The proxy of `users`, who reach what `rules` let through.
pub fn proxy<Io: Stream>(users: Users, rules: Rules) -> impl Proxy<Io, Error = Error> + Clone {
    let users = Arc::new(users);
    let verifier = service_fn(move |attempt: Attempt| {
        let verdict = verify(&users, &attempt);
        async move { verdict }
    });
    let per_tenant = LiveLimitLayer::by(MAX_LIVE, |session: &Session| {
        session.extensions.get::<Tenant>().cloned()
    });
    Socks5::new()
        .with_auth(AuthenticateLayer::password(verifier))
        .with_rules(rules)
        .with_connect_layer(per_tenant)
}

/// For rules: what the users of one tenant ask for.
pub fn of_tenant(name: &str) -> Match {
    let name: Arc<str> = name.into();
    Match::any().extension(move |tenant: &Tenant| tenant.0 == name)
}

fn verify(users: &Users, attempt: &Attempt) -> Result<Admitted, &'static str> {
    let claim = &attempt.credentials;
    let name = claim.username.to_str().ok_or("a name that is no text")?;
    match users.get(name) {
        // `Password` compares in constant time.
        Some((password, tenant)) if *password == claim.password => {
            Ok(Admitted::from(Identity::new(name)).with_extension(tenant.clone()))
        }
        _ => Err("no such user, or another password"),
    }
}
