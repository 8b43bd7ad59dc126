//! Rules are replaced while an association lives.

use socks_tower::{
    AuthorizeLayer, Match, Permit, ReloadRules, ResolveLayer, Rules, UdpAssociate,
    session::DropReason,
};
use tower::{ServiceBuilder, service_fn};

use super::support::{Client, Proxy, echo, resolve};

#[tokio::test]
async fn new_rules_judge_the_destinations_that_are_new_to_an_association() {
    let (old, denied) = (echo("127.0.0.1").await, echo("127.0.0.2").await);
    let open = || Rules::new().permit_all_special();
    let rules = ReloadRules::new(open());
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(service_fn(resolve)))
        .layer(AuthorizeLayer::new(rules.clone()))
        .service(Permit::new());
    let mut proxy = Proxy::start(UdpAssociate::new(judge)).await;
    let client = Client::new(&proxy).await;
    client.echo(&old.into(), old, b"before").await;

    rules.replace(open().deny(Match::any().network("127.0.0.0/8".parse().unwrap())));
    client.send(&denied.into(), b"let me in").await;
    client.echo(&old.into(), old, b"after").await;

    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!((dropped.of(DropReason::Denied), dropped.total()), (1, 1));
}
