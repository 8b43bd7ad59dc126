use socks_tower::ListenAddrs;
use tokio_socks::{Error, TargetAddr, tcp::socks5::Socks5Stream};

use crate::proxy;

#[tokio::test]
async fn names_are_looked_up_for_a_client_that_is_not_ours() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;

    let found = Socks5Stream::tor_resolve(proxy, "db.example:0").await;
    assert_eq!(
        found.unwrap(),
        TargetAddr::Ip("127.0.0.1:0".parse().unwrap())
    );

    let none = Socks5Stream::tor_resolve(proxy, "nowhere.example:0").await;
    assert!(matches!(none, Err(Error::HostUnreachable)));
}

#[tokio::test]
async fn addresses_are_looked_up_for_a_client_that_is_not_ours() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;

    let found = Socks5Stream::tor_resolve_ptr(proxy, "127.0.0.1:0").await;
    assert_eq!(found.unwrap(), TargetAddr::Domain("db.example".into(), 0));

    let denied = Socks5Stream::tor_resolve_ptr(proxy, "10.0.0.1:0").await;
    assert!(matches!(denied, Err(Error::ConnectionNotAllowedByRuleset)));
}
