//! A SOCKS proxy where it depends on the user what may be done, how often, which way and
//! from where.
//!
//! ```sh
//! cargo run -p policy -- socks5h://127.0.0.1:1081
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that show it.

use std::{env, net::Ipv4Addr};

use anyhow::Context;
use socks_tower::{
    Admitted, Attempt, AuthMethod, AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer,
    Egress, HandshakeLayer, Identity, IpNet, Match, NoAuth, ProxyConnector, ProxyUrl, Relay,
    ResolveLayer, Routes, Rules, Server, Session, SystemResolver, TcpConnector, UsernamePassword,
    Users, Work, middleware::LiveLimitLayer, works::upstream,
};
use tower::{ServiceBuilder, service_fn};

/// What the verifier knows of a user besides its name.
#[derive(Clone, Copy, PartialEq)]
enum Plan {
    Free,
    Gold,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let url = args.next().context("usage: policy PROXY-URL [ADDR:PORT]")?;
    let url: ProxyUrl = url.parse()?;
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());
    let loopback: IpNet = "127.0.0.0/8".parse()?;

    // Who comes from this address need not say who it is; all others give a password.
    let inside = NoAuth.offered_if(|session| {
        let ip = session.client_addr.map(|addr| addr.ip());
        ip == Some(Ipv4Addr::LOCALHOST.into())
    });
    let users = Users::new().with("joe", "secret")?.with("ann", "secret")?;
    let auth = AuthenticateLayer::new(inside).or(UsernamePassword::new(verifier(users)));

    let is_free = || Match::any().extension(|plan: &Plan| *plan == Plan::Free);

    // Rules: no mail for those who do not pay. Loopback is permitted only so that it can be
    // tried without the Internet.
    let rules = Rules::new()
        .permit_special(loopback)
        .deny(is_free().port(25));
    let direct = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new()); // from the address that the verifier said

    // Routes: those who do not pay go through another proxy, but for mail, which the rules
    // are asked about.
    let through = ProxyConnector::new(url, upstream::direct());
    let routes = Routes::new(direct.clone())
        .permit_special(loopback)
        .to(is_free().port(25), direct)
        .to(is_free(), through);

    // Limits: one connection at a time for each of those.
    let limit = LiveLimitLayer::by(1, |session: &Session| {
        let is_free = session.extensions.get() == Some(&Plan::Free);
        session.identity.clone().filter(|_| is_free)
    });
    let connector = ServiceBuilder::new().layer(limit).service(routes);

    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(auth)
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}

/// Any verifier of names and passwords, and what is known of each user.
fn verifier(users: Users) -> impl Work<Attempt, Response = Admitted> {
    service_fn(move |attempt: Attempt| {
        let known = users.clone().run(attempt);
        async move {
            let identity: Identity = known.await?;
            let plan = match identity.as_str() {
                "ann" => Plan::Gold,
                _ => Plan::Free,
            };
            let admitted = Admitted::from(identity).with_extension(plan);
            Ok::<_, BoxError>(match plan {
                // An address of her own to come from.
                Plan::Gold => admitted.with_extension(Egress::from(Ipv4Addr::new(127, 0, 0, 25))),
                Plan::Free => admitted,
            })
        }
    })
}
