use std::time::Duration;

use socks_tower::{
    Attempt, AuthenticateLayer, ConnectLayer, HandshakeLayer, Relay, Request, Session, Users,
    middleware::{Rate, RateLimitLayer},
};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceBuilder, service_fn};

use crate::proxy::{
    Client, GRANTED4, GRANTED5, REFUSED4, REFUSED5, SECOND, SOCKS4, SOCKS5, named, open, socks4_of,
    target,
};

#[tokio::test(start_paused = true)]
async fn between_the_stages_one_too_many_in_a_time_is_hung_up_on() {
    let proxy = ServiceBuilder::new()
        .layer(RateLimitLayer::per_client(Rate::per_second(2)))
        .service(open(service_fn(target)));
    let here = "192.0.2.1";
    for _ in 0..2 {
        Client::says(&proxy, here, SOCKS5)
            .await
            .hears(GRANTED5)
            .await;
    }

    for hello in [SOCKS5, SOCKS4] {
        Client::says(&proxy, here, hello)
            .await
            .hears_the_end()
            .await;
    }
    let mut elsewhere = Client::says(&proxy, "192.0.2.2", SOCKS5).await;
    elsewhere.hears(GRANTED5).await;

    advance(SECOND / 2).await;
    Client::says(&proxy, here, SOCKS4)
        .await
        .hears(GRANTED4)
        .await;
    Client::says(&proxy, here, SOCKS5)
        .await
        .hears_the_end()
        .await;
}

#[tokio::test(start_paused = true)]
async fn around_the_connector_one_too_many_in_a_time_is_a_general_failure() {
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::per_client(
            Rate::per_minute(6).with_burst(1),
        ))
        .service_fn(target);
    let proxy = open(connector);
    let here = "2001:db8::1";
    Client::says(&proxy, here, SOCKS5)
        .await
        .hears(GRANTED5)
        .await;

    let neighbour = "2001:db8::2";
    for (hello, refused) in [(SOCKS5, REFUSED5), (SOCKS4, REFUSED4)] {
        let mut client = Client::says(&proxy, neighbour, hello).await;
        client.hears(refused).await;
        client.hears_the_end().await;
    }

    advance(10 * SECOND).await;
    Client::says(&proxy, here, SOCKS4)
        .await
        .hears(GRANTED4)
        .await;
}

#[tokio::test(start_paused = true)]
async fn each_identity_has_a_rate_of_its_own_and_nobodies_have_one_together() {
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::per_identity(Rate::per_second(1)))
        .service_fn(target);
    let proxy = named(connector);
    for (hello, heard) in [
        (&socks4_of("joe")[..], GRANTED4),
        (&socks4_of("joe"), REFUSED4),
        (&socks4_of("ann"), GRANTED4),
        (SOCKS5, GRANTED5),
        (SOCKS5, REFUSED5),
    ] {
        let mut client = Client::says(&proxy, "192.0.2.1", hello).await;
        client.hears(heard).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_on_all_counts_them_together_and_a_rate_of_0_refuses_all() {
    let limited = |rate| {
        let layer = RateLimitLayer::overall(rate);
        open(ServiceBuilder::new().layer(layer).service_fn(target))
    };
    let one = limited(Rate::per_second(1));
    Client::says(&one, "192.0.2.1", SOCKS5)
        .await
        .hears(GRANTED5)
        .await;
    Client::says(&one, "192.0.2.2", SOCKS5)
        .await
        .hears(REFUSED5)
        .await;

    let none = limited(Rate::per_second(0));
    Client::says(&none, "192.0.2.1", SOCKS5)
        .await
        .hears(REFUSED5)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_one_s_own_has_a_rate_of_its_own_and_what_has_none_is_not_limited() {
    let family = |session: &Session| session.client_addr.map(|addr| addr.is_ipv4());
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::by(Rate::per_second(1), family))
        .service_fn(target);
    let proxy = open(connector);
    for (from, hello, heard) in [
        ("192.0.2.1", SOCKS5, GRANTED5),
        ("192.0.2.2", SOCKS5, REFUSED5),
        ("192.0.2.3", SOCKS4, REFUSED4),
        ("2001:db8::1", SOCKS5, GRANTED5),
        ("nowhere", SOCKS5, GRANTED5),
        ("nowhere", SOCKS4, GRANTED4),
    ] {
        let mut client = Client::says(&proxy, from, hello).await;
        client.hears(heard).await;
    }
}

#[tokio::test(start_paused = true)]
async fn around_a_connector_a_target_has_a_rate_of_its_own() {
    let per_target = RateLimitLayer::by(Rate::per_second(1), |request: &Request| {
        Some(request.target.host.clone())
    });
    let proxy = open(ServiceBuilder::new().layer(per_target).service_fn(target));
    // Whoever asks for it.
    for (from, target, code) in [
        ("192.0.2.1", "a.test", 0),
        ("192.0.2.2", "a.test", 1),
        ("192.0.2.1", "b.test", 0),
    ] {
        let words = [
            b"\x05\x01\x00\x05\x01\x00\x03\x06",
            target.as_bytes(),
            b"\x00\x50",
        ];
        let mut client = Client::says(&proxy, from, &words.concat()).await;
        client.hears(&[5, 0, 5, code]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn around_a_verifier_a_user_name_has_a_rate_of_its_own() {
    let per_name = RateLimitLayer::by(Rate::per_second(1), |attempt: &Attempt| {
        Some(attempt.credentials.username.clone())
    })
    .with_max_keys(2);
    let users = Users::new().with("joe", "good").unwrap();
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(per_name.layer(users)))
        .layer(ConnectLayer::new(service_fn(target)))
        .service(Relay::new());
    for (from, name, verdict) in [
        ("192.0.2.1", "joe", 0),
        ("192.0.2.2", "joe", 1),
        // Wrong, and then too often.
        ("192.0.2.2", "ann", 1),
        // No room for a third.
        ("192.0.2.3", "eve", 1),
    ] {
        let words = [b"\x05\x01\x02\x01\x03", name.as_bytes(), b"\x04good"].concat();
        let mut client = Client::says(&proxy, from, &words).await;
        client.hears(&[5, 2, 1, verdict]).await;
    }
    advance(SECOND).await;
    let mut joe = Client::says(&proxy, "192.0.2.2", b"\x05\x01\x02\x01\x03joe\x04good").await;
    joe.hears(&[5, 2, 1, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn without_room_for_another_key_its_connections_are_refused() {
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::per_client(Rate::per_second(9)).with_max_keys(1))
        .service_fn(target);
    let proxy = open(connector);
    Client::says(&proxy, "192.0.2.1", SOCKS5)
        .await
        .hears(GRANTED5)
        .await;

    Client::says(&proxy, "192.0.2.2", SOCKS5)
        .await
        .hears(REFUSED5)
        .await;
    Client::says(&proxy, "192.0.2.1", SOCKS5)
        .await
        .hears(GRANTED5)
        .await;

    advance(2 * SECOND).await;
    Client::says(&proxy, "192.0.2.2", SOCKS5)
        .await
        .hears(GRANTED5)
        .await;
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_are_let_in_at_the_rate_and_in_order() {
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::per_client(Rate::per_second(1)).with_wait(10 * SECOND))
        .service_fn(target);
    let proxy = open(connector);
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::says(&proxy, "192.0.2.1", SOCKS5).await);
        sleep(Duration::from_millis(1)).await;
    }

    for (second, client) in (0..).zip(&mut clients) {
        client.hears(GRANTED5).await;
        assert_eq!(began.elapsed().as_millis() / 100, second * 10);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_would_wait_too_long_is_refused() {
    let connector = ServiceBuilder::new()
        .layer(RateLimitLayer::overall(Rate::per_minute(1)).with_wait(90 * SECOND))
        .service_fn(target);
    let proxy = open(connector);
    let began = Instant::now();
    let mut clients = Vec::new();
    for (hello, heard, at) in [
        (SOCKS5, GRANTED5, 0),
        (SOCKS5, GRANTED5, 60),
        (SOCKS5, REFUSED5, 90),
        (SOCKS4, REFUSED4, 90),
    ] {
        clients.push((Client::says(&proxy, "192.0.2.1", hello).await, heard, at));
        sleep(Duration::from_millis(1)).await;
    }
    for (client, heard, at) in &mut clients {
        client.hears(heard).await;
        assert_eq!(began.elapsed().as_secs(), *at);
    }

    let impatient = RateLimitLayer::overall(Rate::per_minute(1)).with_wait(SECOND);
    let proxy = open(impatient.layer(service_fn(target)));
    Client::says(&proxy, "192.0.2.1", SOCKS5)
        .await
        .hears(GRANTED5)
        .await;
    let began = Instant::now();
    Client::says(&proxy, "192.0.2.1", SOCKS5)
        .await
        .hears(REFUSED5)
        .await;
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "waiting would be of no use"
    );
}

#[tokio::test(start_paused = true)]
async fn around_a_verifier_attempts_too_many_are_refused_in_the_method_s_words() {
    let users = Users::new().with("joe", "secret").unwrap();
    let verifier = ServiceBuilder::new()
        .layer(RateLimitLayer::per_client(Rate::per_second(1)))
        .map_request(|attempt: Attempt| attempt)
        .service(users);
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(verifier))
        .layer(ConnectLayer::new(service_fn(target)))
        .service(Relay::new());
    let hello = b"\x05\x01\x02\x01\x03joe\x06secret";
    Client::says(&proxy, "192.0.2.1", hello)
        .await
        .hears(b"\x05\x02\x01\x00")
        .await;

    let mut second = Client::says(&proxy, "192.0.2.1", hello).await;
    second.hears(b"\x05\x02\x01\x01").await;
    second.hears_the_end().await;

    Client::says(&proxy, "192.0.2.2", hello)
        .await
        .hears(b"\x05\x02\x01\x00")
        .await;
}
