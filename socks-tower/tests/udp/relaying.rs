use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tower::{
    AuthorizeLayer, Permit, Pinned, Request, ResolveLayer, Rules, Target, UdpAssociate,
    session::DropReason,
};
use tokio::net::UdpSocket;
use tower::{ServiceBuilder, service_fn};

use super::support::{Client, Proxy, datagram, echo, judge, name, resolve};

#[tokio::test]
async fn one_association_reaches_both_families_and_names_over_either() {
    let (v4, v6) = (echo("127.0.0.1").await, echo("::1").await);
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let mut proxy = Proxy::start_on(listen, UdpAssociate::new(judge())).await;
        let client = Client::new(&proxy).await;
        assert_eq!(client.relay.ip(), proxy.addr.ip());

        client.echo(&v4.into(), v4, b"to v4").await;
        client.echo(&v6.into(), v6, b"to v6").await;
        // The answer says which address the name has.
        client
            .echo(&name("v4.example", v4.port()), v4, b"by name")
            .await;
        client
            .echo(&name("v6.example", v6.port()), v6, b"by name")
            .await;
        client
            .echo(&name("two.example", v4.port()), v4, b"the one that works")
            .await;
        let mapped: SocketAddr = (
            v4.ip()
                .to_string()
                .parse::<Ipv4Addr>()
                .unwrap()
                .to_ipv6_mapped(),
            v4.port(),
        )
            .into();
        client.echo(&mapped.into(), v4, b"mapped").await;

        drop(client);
        let transfer = proxy.ended().await.unwrap();
        let datagrams = transfer.datagrams.unwrap();
        assert_eq!((datagrams.up, datagrams.down), (6, 6));
        assert_eq!(transfer.up, transfer.down);
        assert_eq!(datagrams.dropped.total(), 0);
    }
}

#[tokio::test]
async fn a_listener_for_both_families_serves_both() {
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start_on("[::]:0", UdpAssociate::new(judge())).await;
    for ip in ["127.0.0.1", "::1"] {
        proxy.addr.set_ip(ip.parse().unwrap());
        let client = Client::new(&proxy).await;
        assert_eq!(client.relay.ip(), proxy.addr.ip());
        client.echo(&target.into(), target, b"hello").await;
    }
}

#[tokio::test]
async fn datagrams_may_be_empty_and_as_long_as_they_can_be() {
    let (v4, v6) = (echo("127.0.0.1").await, echo("::1").await);
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;
    client.echo(&v4.into(), v4, b"").await;
    // 65,507 is what IPv4 carries.
    for (target, header) in [(v4, 10), (v6, 22)] {
        let most = vec![7; 65_507 - header];
        client.echo(&target.into(), target, &most).await;
    }
    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (3, 3));
}

#[tokio::test]
async fn an_answer_that_leaves_no_room_for_its_header_is_dropped_alone() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = target.local_addr().unwrap();
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;
    client.send(&addr.into(), b"question").await;
    let mut question = [0; 16];
    let (_, outward) = target.recv_from(&mut question).await.unwrap();
    target.send_to(&[0; 65_507], outward).await.unwrap();
    target.send_to(b"short", outward).await.unwrap();
    assert_eq!(client.receive().await, (addr, b"short".to_vec()));
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!((dropped.of(DropReason::TooLong), dropped.total()), (1, 1));
}

#[tokio::test]
async fn a_bad_datagram_costs_no_other() {
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;

    // What a longer one left in the buffer does not make a short one whole.
    client.echo(&target.into(), target, b"first").await;
    client
        .send_bytes(&datagram(0, &target.into(), b"")[..7])
        .await;
    client.send_bytes(b"").await;
    client.send_bytes(b"\0\0\0\x02\x01\x02\x03\x04\x05").await;
    client.send_bytes(b"\0\0\0\x03\xffshort").await;
    client.send_bytes(b"\0\0\0\x03\x03a b\0\x35no name").await;
    client.send(&Target::new(target.ip(), 0), b"port 0").await;
    client
        .send(&name("nowhere.example", 53), b"no such name")
        .await;
    client
        .send_bytes(&datagram(1, &target.into(), b"a fragment"))
        .await;
    // Nobody listens there: the system tells our socket, or does not.
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for _ in 0..3 {
        client.send(&nobody.into(), b"is anybody there?").await;
    }
    client.echo(&target.into(), target, b"hello").await;

    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (5, 2));
    for (reason, count) in [
        (DropReason::Malformed, 5),
        (DropReason::Unsendable, 1),
        (DropReason::Unresolved, 1),
        (DropReason::Fragment, 1),
    ] {
        assert_eq!(datagrams.dropped.of(reason), count, "{reason}");
    }
    assert_eq!(datagrams.dropped.total(), 8);
}

#[tokio::test]
async fn a_client_that_is_not_there_for_a_moment_loses_nothing_but_that() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = target.local_addr().unwrap();
    let proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let mut client = Client::new(&proxy).await;
    client.send(&addr.into(), b"question").await;
    let mut question = [0; 16];
    let (_, outward) = target.recv_from(&mut question).await.unwrap();

    // An answer finds nobody, of which the system tells the relay's socket.
    let own = client.socket.local_addr().unwrap();
    client.socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    target.send_to(b"lost", outward).await.unwrap();
    let probe = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.socket = UdpSocket::bind(own).await.unwrap();
    drop(probe);
    client.send(&addr.into(), b"again").await;
    target.recv_from(&mut question).await.unwrap();
    target.send_to(b"answer", outward).await.unwrap();
    let mut came = client.receive().await;
    if came.1 == b"lost" {
        // It was slow enough to find us again.
        came = client.receive().await;
    }
    assert_eq!(came, (addr, b"answer".to_vec()));
}

#[tokio::test]
async fn fragments_are_put_together_if_that_is_switched_on() {
    let target = echo("127.0.0.1").await;
    let associate = UdpAssociate::new(judge()).with_reassembly(Duration::from_secs(5));
    let mut proxy = Proxy::start(associate).await;
    let client = Client::new(&proxy).await;
    for (fragment, data) in [(1, "in "), (2, "three "), (3 | 0x80, "parts")] {
        client
            .send_bytes(&datagram(fragment, &target.into(), data.as_bytes()))
            .await;
    }
    assert_eq!(client.receive().await, (target, b"in three parts".to_vec()));
    client
        .send_bytes(&datagram(1, &target.into(), b"given up"))
        .await;
    client.echo(&target.into(), target, b"alone").await;
    client
        .send_bytes(&datagram(2 | 0x80, &target.into(), b"too late"))
        .await;
    client.echo(&target.into(), target, b"still there").await;
    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (3, 3));
    assert_eq!(datagrams.dropped.of(DropReason::Fragment), 2);
}

#[tokio::test]
async fn rules_judge_destinations_and_middleware_around_them_sees_each_once() {
    let (allowed, denied) = (echo("127.0.0.1").await, echo("127.0.0.2").await);
    let rules = Rules::new().permit_special("127.0.0.1/32".parse().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(service_fn(resolve)))
        .map_request(move |request: Request<Pinned>| {
            let mut seen = note.lock().unwrap();
            seen.push((request.command, request.target.target().to_string()));
            assert!(request.session.client_addr.is_some());
            request
        })
        .layer(AuthorizeLayer::new(rules))
        .service(Permit::new());
    let mut proxy = Proxy::start(UdpAssociate::new(judge)).await;
    let client = Client::new(&proxy).await;
    let by_name = name("v4.example", allowed.port());

    for _ in 0..3 {
        client.echo(&allowed.into(), allowed, b"hello").await;
        client.echo(&by_name, allowed, b"hello").await;
    }
    client.send(&denied.into(), b"let me in").await;
    client.echo(&allowed.into(), allowed, b"hello").await;

    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!((dropped.of(DropReason::Denied), dropped.total()), (1, 1));
    let seen = seen.lock().unwrap().clone();
    let targets = [allowed.to_string(), by_name.to_string(), denied.to_string()];
    let expected = targets.map(|target| (socks_tower::Command::UDP_ASSOCIATE, target));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_is_advertised_and_which_ports_can_be_set() {
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    let addrs = socks_tower::ListenAddrs::new()
        .with_advertised("203.0.113.7".parse().unwrap())
        .unwrap()
        .with_ports(port..=port);
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start(UdpAssociate::new(judge()).with_listen_addrs(addrs)).await;

    // The one port is taken.
    let socket = || UdpSocket::bind("127.0.0.1:0");
    let refused = Client::declaring(&proxy, socket().await.unwrap(), Target::UNSPECIFIED).await;
    assert_eq!(refused.err(), Some(1));
    assert!(proxy.ended().await.is_err());
    drop(free);

    let mut client = Client::new(&proxy).await;
    assert_eq!(client.relay.to_string(), format!("203.0.113.7:{port}"));
    client.relay.set_ip(proxy.addr.ip());
    client.echo(&target.into(), target, b"hello").await;
    // The way in from outside leads to ourselves, too.
    client
        .send(
            &Target::new("203.0.113.7".parse::<std::net::IpAddr>().unwrap(), port),
            b"",
        )
        .await;
    client.echo(&target.into(), target, b"hello").await;
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Loop), 1);
}

#[tokio::test]
async fn datagrams_leave_from_the_source_address_and_no_other_family() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let v6 = echo("::1").await;
    let associate = UdpAssociate::new(judge()).with_egress(Ipv4Addr::new(127, 0, 0, 9));
    let mut proxy = Proxy::start(associate).await;
    let client = Client::new(&proxy).await;
    client.send(&v6.into(), b"nowhere").await;
    client
        .send(&target.local_addr().unwrap().into(), b"hello")
        .await;
    let (_, from) = target.recv_from(&mut [0; 8]).await.unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Unsendable), 1);
}
