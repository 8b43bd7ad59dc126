//! A SOCKS proxy whose users write wishes behind their names: a country, and a session
//! that shares no circuit with another.
//!
//! ```sh
//! cargo run -p user-names -- 127.0.0.1:9050 de=127.0.0.1:9051
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that show it.

mod wishes;

use std::env;

use anyhow::{Context, bail};
use socks_tower::{
    Attempt, AuthenticateLayer, BoxError, ConnectLayer, Connector, Credentials, HandshakeLayer,
    Match, Relay, Request, Routes, Server, Socks5Connector, Target, Users, works::upstream::direct,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use wishes::Wishes;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let usage = "usage: user-names PROXY [COUNTRY=PROXY...] [listen=ADDR:PORT]";
    let anywhere: Target = args.next().context(usage)?.parse()?;
    let mut addr = "127.0.0.1:1080".to_owned();

    // A country that no proxy is named for is refused, and not served from another.
    let mut countries = Vec::new();
    for arg in args {
        match arg.split_once('=') {
            Some(("listen", listen)) => addr = listen.to_owned(),
            Some((country, proxy)) => countries.push((country.to_owned(), proxy.parse()?)),
            None => bail!(usage),
        }
    }
    let mut routes = Routes::new(isolating(anywhere));
    // Only so that it can be tried without the Internet.
    routes = routes.permit_special("127.0.0.0/8".parse()?);
    for (country, proxy) in countries {
        let wished = move |wishes: &Wishes| wishes.country.as_ref() == Some(&country);
        routes = routes.to(Match::any().extension(wished), isolating(proxy));
    }
    let elsewhere = Match::any().extension(|wishes: &Wishes| wishes.country.is_some());
    let connector = routes.deny(elsewhere);

    let users = Users::new().with("joe", "secret")?.with("ann", "secret")?;
    let verifier = service_fn(move |attempt: Attempt| wishes::verify(users.clone(), attempt));
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(verifier))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}

/// Through the SOCKS5 proxy at `proxy`, which is told by another user name that streams
/// are to be isolated from each other. Tor does so (`IsolateSOCKSAuth`, its default): what
/// differs in name or password shares no circuit.
fn isolating(proxy: Target) -> impl Connector<Request> + Sync {
    let connector = Socks5Connector::new(proxy, direct());
    service_fn(move |request: Request| {
        let connector = connector.clone();
        async move {
            let credentials = isolation(&request)?;
            let connector = connector.with_credentials(credentials);
            Ok::<_, BoxError>(connector.oneshot(request).await?)
        }
    })
}

/// Who it is and its session: users never share a circuit, nor do one user's sessions. Tor
/// asks nobody for a password, but takes two words to tell streams apart by.
fn isolation(request: &Request) -> Result<Credentials, BoxError> {
    let identity = request.session.identity.as_ref();
    let wishes = request.session.extensions.get::<Wishes>();
    let session = wishes.and_then(|wishes| wishes.session.as_deref());
    Ok(Credentials::new(
        identity.map_or("anonymous", |it| it.as_str()),
        session.unwrap_or("none"),
    )?)
}
