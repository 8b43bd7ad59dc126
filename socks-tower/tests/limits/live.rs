use socks_tower::{Session, middleware::LiveLimitLayer};
use tokio::time::Instant;
use tower::{ServiceBuilder, service_fn};

use crate::proxy::{
    Client, GRANTED4, GRANTED5, REFUSED4, REFUSED5, SECOND, SOCKS4, SOCKS5, named, open, socks4_of,
    target,
};

#[tokio::test(start_paused = true)]
async fn between_the_stages_a_client_too_many_is_hung_up_on() {
    let limit = LiveLimitLayer::per_client(2);
    let proxy = ServiceBuilder::new()
        .layer(limit)
        .service(open(service_fn(target)));
    let here = "192.0.2.1";
    let mut first = Client::says(&proxy, here, SOCKS5).await;
    let mut second = Client::says(&proxy, here, SOCKS4).await;
    first.hears(GRANTED5).await;
    second.hears(GRANTED4).await;

    for hello in [SOCKS5, SOCKS4] {
        Client::says(&proxy, here, hello)
            .await
            .hears_the_end()
            .await;
    }
    let mut mapped = Client::says(&proxy, "::ffff:192.0.2.1", SOCKS5).await;
    mapped.hears_the_end().await;
    let mut elsewhere = Client::says(&proxy, "192.0.2.2", SOCKS5).await;
    elsewhere.hears(GRANTED5).await;

    second.hangs_up().await;
    let mut third = Client::says(&proxy, here, SOCKS5).await;
    third.hears(GRANTED5).await;
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_network_of_64_bits_is_one_client() {
    let proxy = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_client(1))
        .service(open(service_fn(target)));
    let mut first = Client::says(&proxy, "2001:db8:0:1::1", SOCKS5).await;
    first.hears(GRANTED5).await;

    let mut neighbour = Client::says(&proxy, "2001:db8:0:1:2:3:4:5", SOCKS5).await;
    neighbour.hears_the_end().await;
    let mut elsewhere = Client::says(&proxy, "2001:db8:0:2::1", SOCKS5).await;
    elsewhere.hears(GRANTED5).await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_never_say_a_word_count_too() {
    let proxy = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_client(1))
        .service(open(service_fn(target)));
    let _silent = Client::says(&proxy, "192.0.2.1", b"").await;

    let mut second = Client::says(&proxy, "192.0.2.1", SOCKS5).await;

    second.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn around_the_connector_a_tunnel_too_many_is_a_general_failure() {
    let connector = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_client(2))
        .service_fn(target);
    let proxy = open(connector);
    let here = "192.0.2.1";
    // Still without a request, so without a tunnel.
    let _silent = Client::says(&proxy, here, b"").await;
    let mut first = Client::says(&proxy, here, SOCKS5).await;
    let mut second = Client::says(&proxy, here, SOCKS4).await;
    first.hears(GRANTED5).await;
    second.hears(GRANTED4).await;

    for (hello, refused) in [(SOCKS5, REFUSED5), (SOCKS4, REFUSED4)] {
        let mut client = Client::says(&proxy, here, hello).await;
        client.hears(refused).await;
        client.hears_the_end().await;
    }

    first.hangs_up().await;
    let mut third = Client::says(&proxy, here, SOCKS4).await;
    third.hears(GRANTED4).await;
}

#[tokio::test(start_paused = true)]
async fn each_identity_has_places_of_its_own_and_nobodies_have_some_together() {
    let connector = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_identity(1))
        .service_fn(target);
    let proxy = named(connector);
    let mut tunnels = Vec::new();
    for (hello, heard) in [
        (&socks4_of("joe")[..], GRANTED4),
        (&socks4_of("joe"), REFUSED4),
        (&socks4_of("ann"), GRANTED4),
        (SOCKS5, GRANTED5),
        (SOCKS5, REFUSED5),
    ] {
        let mut client = Client::says(&proxy, "192.0.2.1", hello).await;
        client.hears(heard).await;
        tunnels.push(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_all_counts_them_together_wherever_it_is_cloned_to() {
    let limit = LiveLimitLayer::overall(1);
    let around =
        |limit: LiveLimitLayer<()>| open(ServiceBuilder::new().layer(limit).service_fn(target));
    let (one, another) = (around(limit.clone()), around(limit));
    let mut first = Client::says(&one, "192.0.2.1", SOCKS5).await;
    first.hears(GRANTED5).await;

    let mut second = Client::says(&another, "nowhere", SOCKS5).await;
    second.hears(REFUSED5).await;

    first.hangs_up().await;
    let mut third = Client::says(&another, "nowhere", SOCKS5).await;
    third.hears(GRANTED5).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_one_s_own_counts_and_what_has_none_does_not() {
    let port = |session: &Session| session.client_addr.map(|addr| addr.port());
    let connector = ServiceBuilder::new()
        .layer(LiveLimitLayer::by(0, port))
        .service_fn(target);
    let proxy = open(connector);

    let mut somewhere = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    somewhere.hears(REFUSED5).await;
    let mut nowhere = Client::says(&proxy, "nowhere", SOCKS5).await;
    nowhere.hears(GRANTED5).await;
}

#[tokio::test(start_paused = true)]
async fn without_room_for_another_key_its_connections_are_refused() {
    let connector = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_client(2).with_max_keys(1))
        .service_fn(target);
    let proxy = open(connector);
    let mut first = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    first.hears(GRANTED5).await;

    let mut other = Client::says(&proxy, "192.0.2.2", SOCKS5).await;
    other.hears(REFUSED5).await;
    let mut second = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    second.hears(GRANTED5).await;

    first.hangs_up().await;
    second.hangs_up().await;
    let mut other = Client::says(&proxy, "192.0.2.2", SOCKS5).await;
    other.hears(GRANTED5).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_let_in_as_another_ends() {
    let limit = || LiveLimitLayer::per_client(1).with_wait(5 * SECOND);
    let around = open(ServiceBuilder::new().layer(limit()).service_fn(target));
    let between = ServiceBuilder::new()
        .layer(limit())
        .service(open(service_fn(target)));
    waits(around).await;
    waits(between).await;
}

async fn waits<P>(proxy: P)
where
    P: socks_tower::Proxy<tokio::io::DuplexStream, Future: Send> + Clone + Send + 'static,
{
    let mut first = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    first.hears(GRANTED5).await;
    let mut second = Client::says(&proxy, "192.0.2.1", SOCKS4).await;
    let began = Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        first.hangs_up().await;
    });

    second.hears(GRANTED4).await;

    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_too_long_is_refused() {
    let connector = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_client(1).with_wait(5 * SECOND))
        .service_fn(target);
    let proxy = open(connector);
    let mut first = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    first.hears(GRANTED5).await;
    for (hello, refused) in [(SOCKS5, REFUSED5), (SOCKS4, REFUSED4)] {
        let began = Instant::now();
        let mut client = Client::says(&proxy, "192.0.2.1", hello).await;
        client.hears(refused).await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_up_while_it_waits_leaves_its_turn_to_the_next() {
    let connector = ServiceBuilder::new()
        .layer(LiveLimitLayer::overall(1).with_wait(60 * SECOND))
        // Inside: what waits must not hold a permit of it.
        .concurrency_limit(1)
        .service_fn(target);
    let proxy = open(connector);
    let mut first = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    first.hears(GRANTED5).await;
    let second = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    second.hangs_up().await;
    let mut third = Client::says(&proxy, "192.0.2.1", SOCKS5).await;
    tokio::time::sleep(SECOND).await;

    first.hangs_up().await;

    third.hears(GRANTED5).await;
}

#[cfg(feature = "proxy-protocol")]
#[tokio::test(start_paused = true)]
async fn behind_a_load_balancer_the_client_that_it_names_counts() {
    let balancer = "192.0.2.1";
    let believing = socks_tower::front::proxy_protocol::ProxyProtocolLayer::new();
    let proxy = ServiceBuilder::new()
        .layer(believing.with_trusted("192.0.2.1/32".parse().unwrap()))
        .layer(LiveLimitLayer::per_client(1))
        .service(open(service_fn(target)));
    let named = |ip: &str, hello: &[u8]| {
        let line = format!("PROXY TCP4 {ip} 198.51.100.1 50123 1080\r\n");
        [line.as_bytes(), hello].concat()
    };
    let mut first = Client::says(&proxy, balancer, &named("203.0.113.1", SOCKS5)).await;
    first.hears(GRANTED5).await;

    let mut other = Client::says(&proxy, balancer, &named("203.0.113.2", SOCKS4)).await;
    other.hears(GRANTED4).await;
    let mut again = Client::says(&proxy, balancer, &named("203.0.113.1", SOCKS4)).await;
    again.hears_the_end().await;
}
