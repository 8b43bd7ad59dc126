use std::net::SocketAddr;

use socks_tower::{Credentials, Password, Rules, test_util::Client};
use tenant::{MAX_LIVE, Tenant, Users, of_tenant, proxy};
use tokio::net::TcpListener;

fn users() -> Users {
    let user = |(name, tenant): (&str, &str)| {
        let password = Password::new("secret").unwrap();
        (name.into(), (password, Tenant(tenant.into())))
    };
    [("ann", "acme"), ("bob", "acme"), ("eve", "evil")]
        .map(user)
        .into()
}

#[tokio::test]
async fn tenants_have_limits_and_rules() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let denied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, denied_at) = (target.local_addr().unwrap(), denied.local_addr().unwrap());
    let rules = Rules::new()
        .permit_special("127.0.0.0/8".parse().unwrap())
        .deny(of_tenant("evil").port(denied_at.port()));
    let proxy = proxy(users(), rules);

    // Asks, hangs up, and is done when the target has hung up, too.
    let ask = |user: &str, password: &str, target: SocketAddr| {
        let user = Credentials::new(user, password).unwrap();
        let client = Client::socks5(target.into()).with_password(user);
        client.ask(proxy.clone())
    };
    let live = async |user: &str| {
        let client = tokio::spawn(ask(user, "secret", at));
        (client, target.accept().await.unwrap())
    };

    assert_eq!(ask("ann", "guess", at).await.reply, None);
    assert_eq!(ask("joe", "secret", at).await.reply, None);

    // Two tunnels for all of acme, whoever of them it is.
    assert_eq!(MAX_LIVE, 2);
    let (ann, ann_end) = live("ann").await;
    let (bob, bob_end) = live("bob").await;
    for user in ["ann", "bob"] {
        assert_eq!(ask(user, "secret", at).await.reply, Some(1));
    }
    let _eve = live("eve").await; // another tenant's

    // One that ends makes room for one.
    drop(ann_end);
    assert_eq!(ann.await.unwrap().reply, Some(0));
    let _ann = live("ann").await;
    assert_eq!(ask("ann", "secret", at).await.reply, Some(1));

    // What is denied to evil alone, acme reaches: the listener is there.
    assert_eq!(ask("eve", "secret", denied_at).await.reply, Some(2));
    drop(bob_end);
    assert_eq!(bob.await.unwrap().reply, Some(0));
    let acme = tokio::spawn(ask("ann", "secret", denied_at));
    drop(denied.accept().await.unwrap());
    assert_eq!(acme.await.unwrap().reply, Some(0));
}
