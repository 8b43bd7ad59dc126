//! A SOCKS5 proxy that knows its clients by their Kerberos tickets.
//!
//! ```sh
//! KRB5_KTNAME=FILE:/etc/socks.keytab cargo run --bin proxy -- EXAMPLE.COM
//! ```
//!
//! It takes tickets for the service `socks`, calls joe@EXAMPLE.COM `joe`, and refuses
//! those of other realms. It prints `listening on 127.0.0.1:1080`, and who comes.

use std::env;

use anyhow::Context;
use socks_tower::{
    Attempt, AuthenticateLayer, GssApi, Identity, Match, Principal, Rules, Server, Socks5,
};
use tower::service_fn;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let realm = args.next().context("the name of the clients' realm")?;
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".into());

    let who = service_fn(move |attempt: Attempt<Principal>| {
        let name = attempt.credentials.of_realm(&realm).map(Identity::new);
        async { name.ok_or("of another realm") }
    });
    // The keys that it takes tickets for are those of the keytab.
    let method = GssApi::new("socks")?.with_verifier(who);

    // Joe reaches the web, and nobody else anything. Loopback passes only so that it
    // can be tried.
    let rules = Rules::new()
        .permit_special("127.0.0.0/8".parse()?)
        .allow(Match::any().identity("joe"))
        .deny_by_default();
    let proxy = Socks5::new()
        .with_auth(AuthenticateLayer::new(method))
        .with_rules(rules)
        .with_udp();
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
