//! However a session ends, its end is told, once.

use socks_tower::{
    Accepted, ErrorKind, Protocol, ReplyCode,
    middleware::{ObserveLayer, Sessions},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tower::ServiceBuilder;

use crate::proxy::{Keep, Proxy, Way, all_of, listen, patiently, stack, tunnel};

#[tokio::test]
async fn a_tunnel_ends_in_one_summary_with_all_that_is_known_in_every_protocol() {
    let (target, addr) = listen().await;
    let mut proxy = Proxy::start().await;
    for way in Way::all(addr) {
        let (mut client, mut far) = tunnel(&proxy, &way, &target).await;
        client.shutdown().await.unwrap();
        all_of(&mut far).await;
        drop(far);
        all_of(&mut client).await;

        let told = proxy.told().await;

        way.check(&told, &client, proxy.addr);
        assert_eq!(told.outcome, "closed");
        assert_eq!(told.bytes, (5, 7));
        assert_eq!(told.record.reply, Some(ReplyCode::SUCCEEDED));
        assert_eq!(told.record.upstream_addr, Some(addr));
        assert!(told.record.established);
        assert!(told.datagrams.is_none());
    }
    proxy.stop().await;
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn a_refusal_is_told_with_the_reply_in_every_protocol() {
    let mut proxy = Proxy::start().await;
    for way in Way::all("192.0.2.7:80".parse().unwrap()) {
        // Names are this machine's, where nobody listens at this port.
        let (code, outcome) = match way.target.starts_with("target") {
            true => (ReplyCode::CONNECTION_REFUSED, "connect"),
            false => (ReplyCode::CONNECTION_NOT_ALLOWED, "denied"),
        };
        let mut client = proxy.client(&way.words).await;
        client.shutdown().await.unwrap();
        all_of(&mut client).await;

        let told = proxy.told().await;

        way.check(&told, &client, proxy.addr);
        assert_eq!(told.outcome, outcome, "{}", way.target);
        assert_eq!(told.record.reply, Some(code));
        assert!(!told.record.established);
        assert_eq!(told.bytes, (0, 0));
        assert!(told.error.is_some());
    }
    proxy.stop().await;
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn garbage_is_told_as_a_broken_protocol() {
    let mut proxy = Proxy::start().await;
    for words in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\x05\x01\x00\x07\x01",
        b"\x04\x09",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = proxy.client(words).await;
        client.shutdown().await.unwrap();
        all_of(&mut client).await;

        let told = proxy.told().await;

        let kind = told.kind.unwrap();
        assert!(
            matches!(kind, ErrorKind::Protocol | ErrorKind::ClientGone),
            "{words:?}: {kind:?}"
        );
        assert_eq!(told.record.client_addr, Some(client.local_addr().unwrap()));
        assert_eq!(told.record.command, None);
        assert_eq!(told.record.reply, None);
    }
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_name_and_is_not_shown() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy.client(b"\x05\x01\x02\x01\x03joe\x07hunter2").await;
    client.shutdown().await.unwrap();
    all_of(&mut client).await;

    let told = proxy.told().await;

    assert_eq!(told.kind, Some(ErrorKind::Authentication));
    assert_eq!(told.record.protocol, Some(Protocol::Socks5));
    assert_eq!(told.record.identity, None);
    let claimed = told.record.claimed.as_ref().unwrap();
    assert_eq!(claimed.to_str(), Some("joe"));
    assert!(!format!("{told:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_tunnel_that_the_shutdown_cuts_is_told_with_its_bytes() {
    let (target, addr) = listen().await;
    let mut proxy = Proxy::start().await;
    let ways = Way::all(addr);
    let mut tunnels = Vec::new();
    for way in &ways {
        tunnels.push(tunnel(&proxy, way, &target).await);
    }
    let silent = proxy.client(b"\x05\x01").await;
    // It must have been accepted, or it would never have been.
    let mut noise = proxy.client(b"\x16").await;
    all_of(&mut noise).await;
    assert_eq!(proxy.told().await.outcome, "protocol");

    proxy.stop().await;

    for _ in 0..=ways.len() {
        let told = proxy.told().await;
        assert_eq!(told.outcome, "cut");
        let client = told.record.client_addr;
        if client == silent.local_addr().ok() {
            assert_eq!(told.record.protocol, Some(Protocol::Socks));
            assert_eq!(told.bytes, (0, 0));
            continue;
        }
        let has_it = |end: &(TcpStream, TcpStream)| client == end.0.local_addr().ok();
        let at = tunnels.iter().position(has_it).unwrap();
        ways[at].check(&told, &tunnels[at].0, proxy.addr);
        assert_eq!(told.bytes, (5, 7));
    }
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn a_session_that_is_ended_from_outside_is_told_with_its_bytes() {
    let (target, addr) = listen().await;
    let mut proxy = Proxy::start().await;
    for way in Way::all(addr) {
        let (client, _far) = tunnel(&proxy, &way, &target).await;
        proxy.sessions.list()[0].end();

        let told = proxy.told().await;

        way.check(&told, &client, proxy.addr);
        assert_eq!(told.kind, Some(ErrorKind::Ended));
        assert_eq!(told.bytes, (5, 7));
        assert!(told.record.established);
    }
    proxy.stop().await;
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn a_session_that_panics_is_told() {
    let mut proxy = Proxy::start().await;
    for words in [
        &b"\x05\x01\x00\x05\x01\x00\x03\x0apanic.test\x00\x50"[..],
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00panic.test\x00",
        b"CONNECT panic.test:80 HTTP/1.1\r\n\r\n",
    ] {
        let mut client = proxy.client(words).await;
        all_of(&mut client).await;

        let told = proxy.told().await;

        assert_eq!(told.outcome, "panicked");
        assert_eq!(told.target().unwrap(), "panic.test:80");
    }
    proxy.stop().await;
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn a_layer_that_panics_as_it_is_called_is_told() {
    let (keep, told) = Keep::new();
    let sessions = Sessions::new();
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(keep))
        .map_request(|accepted: Accepted<TcpStream>| {
            assert!(accepted.buffered.len() == 1, "as the test wants it");
            accepted
        })
        .service(stack(&sessions));
    let mut proxy = Proxy::serve(stack, sessions, told).await;
    let mut client = proxy.client(b"\x05").await;
    all_of(&mut client).await;

    assert_eq!(proxy.told().await.outcome, "panicked");
    proxy.stop().await;
    assert!(proxy.has_told_all());
}

#[tokio::test]
async fn a_look_up_is_told_though_it_has_no_tunnel() {
    let mut proxy = Proxy::start().await;
    let words = b"\x05\x01\x00\x05\xf0\x00\x03\x09some.test\x00\x00";
    let mut client = proxy.client(words).await;
    client.shutdown().await.unwrap();
    assert_eq!(all_of(&mut client).await.len(), 12);

    let told = proxy.told().await;

    assert_eq!(told.outcome, "closed");
    assert_eq!(told.record.reply, Some(ReplyCode::SUCCEEDED));
    assert!(!told.record.established);
}

#[tokio::test]
async fn a_command_that_is_not_served_is_told() {
    let mut proxy = Proxy::start().await;
    let mut client = proxy
        .client(b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50")
        .await;
    client.shutdown().await.unwrap();
    all_of(&mut client).await;

    let told = proxy.told().await;

    assert_eq!(told.kind, Some(ErrorKind::Command));
    assert_eq!(told.record.reply, Some(ReplyCode::COMMAND_NOT_SUPPORTED));
}

#[tokio::test]
async fn the_connections_are_closed_when_the_end_is_told() {
    let (target, addr) = listen().await;
    let mut proxy = Proxy::start().await;
    let way = &Way::all(addr)[2];
    let (mut client, mut far) = tunnel(&proxy, way, &target).await;
    proxy.sessions.list()[0].end();
    proxy.told().await;

    // On loopback, what was closed has ended.
    for stream in [&mut client, &mut far] {
        patiently("the end", all_of(stream)).await;
    }
    assert!(proxy.sessions.is_empty());
}
