//! A SOCKS proxy that asks an HTTP endpoint who may come.
//!
//! ```sh
//! cargo run -p auth-http -- http://127.0.0.1:8001/login
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has an endpoint for it.

mod endpoint;

use std::{env, time::Duration};

use anyhow::{Context, bail};
use socks_tower::{
    Admitted, AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer, HandshakeLayer, Identity,
    Relay, ResolveLayer, Rules, Server, SystemResolver, TcpConnector, middleware::LockoutLayer,
    session::is_outage, stages::authenticate::cache::AuthCacheLayer,
};
use tower::{ServiceBuilder, ServiceExt};

use endpoint::Endpoint;

const USAGE: &str = "usage: auth-http URL [refuse|remembered|everybody [ADDR:PORT]]";

/// Who is removed, or has a new password, is let in for this much longer.
const TTL: Duration = Duration::from_secs(60);

/// And for this much, if the endpoint is down and the choice is `remembered`.
const STALE: Duration = Duration::from_secs(60 * 60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let endpoint = Endpoint::new(args.next().context(USAGE)?.parse()?)?;
    let when_down = args.next().unwrap_or_else(|| "refuse".to_owned());
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());
    let auth = auth(endpoint, &when_down)?;

    // Loopback only so that it can be tried without the Internet.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new());
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

fn auth(endpoint: Endpoint, when_down: &str) -> anyhow::Result<AuthenticateLayer> {
    let cache = AuthCacheLayer::new(TTL);
    let cache = match when_down {
        "refuse" | "everybody" => cache,
        "remembered" => cache.with_stale(STALE),
        _ => bail!(USAGE),
    };
    let verifier = ServiceBuilder::new()
        .layer(LockoutLayer::new()) // an outage does not count as a failure
        .layer(cache)
        .concurrency_limit(64)
        .timeout(Duration::from_secs(2)) // of one question
        .service(endpoint);
    if when_down != "everybody" {
        return Ok(AuthenticateLayer::password(verifier));
    }
    // Whoever can overload the endpoint gets in, then. Rules can tell who came so.
    let verifier = verifier.map_result(|verdict: Result<Admitted, BoxError>| match verdict {
        Err(error) if is_outage(&*error) => Ok(Identity::new("unverified").into()),
        verdict => verdict,
    });
    Ok(AuthenticateLayer::password(verifier))
}
