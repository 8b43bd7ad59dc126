//! Clients from other crates, through the ready-made proxies: whoever wrote
//! them read the same documents, and may have read them differently.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod fast_socks5;
mod hyper_util;
mod reqwest;
mod tokio_socks;
mod ureq;

use socks_tests::{
    origin::{V4, V6},
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, Rules, Socks, SystemResolver, TcpConnector, Users,
    works::resolve::{Hosts, HostsLayer},
};
use tower::Layer;

/// A name that leads to 127.0.0.1.
const NAME: &str = "v4.origin.test";
/// A name that leads to ::1.
const NAME_V6: &str = "v6.origin.test";
/// A name without an address.
const NO_NAME: &str = "none.origin.test";

type Open = Socks<TcpConnector, Rules, Hosts<SystemResolver>>;

/// Serves all versions and reaches loopback.
fn socks() -> Open {
    let hosts = HostsLayer::new()
        .with_host(NAME.parse().unwrap(), [V4])
        .with_host(NAME_V6.parse().unwrap(), [V6])
        .with_host(NO_NAME.parse().unwrap(), []);
    Socks::new()
        .with_rules(Rules::new().permit_all_special())
        .with_resolver(hosts.layer(SystemResolver::new()))
}

/// A proxy that lets everybody in, everywhere.
async fn open() -> Proxy {
    Proxy::spawn(socks()).await
}

/// A proxy that lets `joe` in with the password `s3cret@!`, everywhere.
async fn with_password() -> Proxy {
    let users = Users::new().with("joe", "s3cret@!").unwrap();
    Proxy::spawn(socks().with_auth(AuthenticateLayer::password(users))).await
}

/// A proxy as it comes: it reaches nothing that is special, like loopback.
async fn strict() -> Proxy {
    Proxy::spawn(Socks::new()).await
}
