//! `TcpConnector` against sockets on loopback.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use std::{
    error::Error as _,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use socket2::SockRef;
use socks_tower::{
    Command, DialError, Egress, Pinned, Request, Session, Target, TcpConnector,
    works::{
        egress::SourceAddrs,
        tcp::{ConnectError, Keepalive, Race},
    },
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

async fn listen(addr: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address that refuses: bound, so that nobody else takes it, and deaf.
fn deaf(ip: &str) -> (TcpSocket, SocketAddr) {
    let addr = SocketAddr::new(ip.parse().unwrap(), 0);
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.unwrap();
    socket.bind(addr).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn request(addrs: &[SocketAddr]) -> Request<Pinned> {
    let target: Target = "db.example:5432".parse().unwrap();
    let pinned = Pinned::new(target, addrs.iter().copied());
    Request::new(Session::new(), Command::CONNECT, pinned)
}

/// On a machine that has no route to what `unreachable` says.
fn failing(unreachable: fn(&SocketAddr) -> bool) -> TcpConnector {
    TcpConnector::new().with_setup(move |_, addr| {
        if unreachable(&addr) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        Ok(())
    })
}

/// A listener that lets nobody in any more, so that a dial hangs: its queue is
/// full, and Linux drops what comes then.
async fn full() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    for _ in 0..2 {
        queued.push(TcpStream::connect(addr).await.unwrap());
    }
    (listener, addr, queued)
}

fn cause(error: &ConnectError) -> io::ErrorKind {
    let source = error.source().unwrap();
    let dial = source.downcast_ref::<DialError>();
    let error: &io::Error = match dial {
        Some(dial) => dial.get_ref(),
        None => source.downcast_ref().unwrap(),
    };
    error.kind()
}

#[tokio::test]
async fn it_connects_to_the_pinned_address() {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, addr) = listen(ip).await;
        let stream = TcpConnector::new().oneshot(request(&[addr])).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
        assert_eq!(accepted.local_addr().unwrap(), stream.peer_addr().unwrap());
    }
}

#[tokio::test]
async fn a_refusal_is_the_cause() {
    let (_held, addr) = deaf("127.0.0.1");
    let error = TcpConnector::new().oneshot(request(&[addr])).await;
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), format!("connect to {addr}"));
    assert_eq!(cause(&error), io::ErrorKind::ConnectionRefused);
}

/// The system tries again after a second.
#[tokio::test]
async fn a_dial_that_finds_no_room_goes_on_once_there_is_some() {
    let (listener, addr, queued) = full().await;
    let mut dial = pin!(TcpConnector::new().oneshot(request(&[addr])));
    tokio::select! {
        biased;
        dialled = &mut dial => panic!("{dialled:?}"),
        () = tokio::task::yield_now() => {}
    }
    for _ in &queued {
        listener.accept().await.unwrap();
    }
    let stream = dial.await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
}

#[tokio::test]
async fn a_family_without_a_route_gives_way_to_the_other() {
    let (_listener, v4) = listen("127.0.0.1:0").await;
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), v4.port());
    let connector = failing(SocketAddr::is_ipv6);
    let stream = connector.oneshot(request(&[v6, v4])).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), v4);
}

#[tokio::test]
async fn a_refusal_counts_more_than_a_family_without_a_route() {
    let (_held, v4) = deaf("127.0.0.1");
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), v4.port());
    for order in [[v6, v4], [v4, v6]] {
        let connector = failing(SocketAddr::is_ipv6);
        let error = connector.oneshot(request(&order)).await.unwrap_err();
        assert_eq!(cause(&error), io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_target_whose_first_addresses_refuse_is_reached() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let refusing =
        (2..10).map(|n| SocketAddr::new(Ipv4Addr::new(127, 0, 0, n).into(), addr.port()));
    let addrs: Vec<_> = refusing.chain([addr]).collect();
    let stream = TcpConnector::new().oneshot(request(&addrs)).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), addr);
}

#[tokio::test]
async fn options_are_on_by_default() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let stream = TcpConnector::new().oneshot(request(&[addr])).await.unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    // As of clients.
    let minute = Duration::from_secs(60);
    assert_eq!(socket.tcp_keepalive_time().unwrap(), minute);
}

#[tokio::test]
async fn options_can_be_set() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let connector = TcpConnector::new()
        .with_nodelay(false)
        .with_keepalive(Keepalive::Off);
    let stream = connector.oneshot(request(&[addr])).await.unwrap();
    assert!(!SockRef::from(&stream).tcp_nodelay().unwrap());
    assert!(!SockRef::from(&stream).keepalive().unwrap());

    for (asked, set) in [(0, 1), (60, 60), (u64::MAX, 32_767)] {
        let silence = Duration::from_secs(asked);
        let connector = TcpConnector::new().with_keepalive(Keepalive::After(silence));
        let stream = connector.oneshot(request(&[addr])).await.unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap());
        let silence = SockRef::from(&stream).tcp_keepalive_time().unwrap();
        assert_eq!(silence.as_secs(), set);
    }
}

#[tokio::test]
async fn it_dials_from_the_source_address() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let source = Ipv4Addr::new(127, 0, 0, 2);
    let connector = TcpConnector::new().with_egress(source);
    let stream = connector.oneshot(request(&[addr])).await.unwrap();
    assert_eq!(stream.local_addr().unwrap().ip(), source);
}

#[tokio::test]
async fn a_session_can_have_its_own_source_address() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let connector = TcpConnector::new().with_egress(Ipv4Addr::new(127, 0, 0, 2));
    let mut request = request(&[addr]);
    let source = Egress::from(Ipv4Addr::new(127, 0, 0, 3));
    request.session.extensions.insert(source);
    let stream = connector.oneshot(request).await.unwrap();
    assert_eq!(
        stream.local_addr().unwrap().ip(),
        Ipv4Addr::new(127, 0, 0, 3)
    );
}

#[tokio::test]
async fn a_family_without_a_source_address_is_not_dialled() {
    let (_v6_listener, v6) = listen("[::1]:0").await;
    let connector = TcpConnector::new().with_egress(Ipv4Addr::new(127, 0, 0, 2));
    let error = connector.clone().oneshot(request(&[v6])).await;
    assert!(matches!(error, Err(ConnectError::NoSource(_))));

    let (_v4_listener, v4) = listen("127.0.0.1:0").await;
    let stream = connector.clone().oneshot(request(&[v6, v4])).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), v4);

    let both = SourceAddrs::from(Ipv4Addr::new(127, 0, 0, 2)).with(Ipv6Addr::UNSPECIFIED);
    let connector = connector.with_egress(both);
    let stream = connector.oneshot(request(&[v6])).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), v6);
}

#[tokio::test]
async fn a_source_address_of_another_machine_is_named() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let connector = TcpConnector::new().with_egress(Ipv4Addr::new(192, 0, 2, 7));
    let error = connector.oneshot(request(&[addr])).await.unwrap_err();
    assert_eq!(error.to_string(), "bind to 192.0.2.7");
    assert_eq!(cause(&error), io::ErrorKind::AddrNotAvailable);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_egress_sets_what_it_says_on_the_socket() {
    let (_v4_listener, v4) = listen("127.0.0.1:0").await;
    let (_v6_listener, v6) = listen("[::1]:0").await;
    let timeout = Duration::from_millis(12_345);
    let egress = Egress::new()
        .with_dscp(10)
        .with_user_timeout(timeout)
        .with_keepalive(Keepalive::After(Duration::from_secs(7)))
        .with_congestion_control("reno")
        .with_interface("lo");
    egress.check().unwrap();
    let connector = TcpConnector::new()
        .with_keepalive(Keepalive::Off)
        .with_egress(egress);
    for addr in [v4, v6] {
        let stream = connector.clone().oneshot(request(&[addr])).await.unwrap();
        let socket = SockRef::from(&stream);
        match addr {
            SocketAddr::V4(_) => assert_eq!(socket.tos_v4().unwrap(), 10 << 2),
            SocketAddr::V6(_) => assert_eq!(socket.tclass_v6().unwrap(), 10 << 2),
        }
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout));
        assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 7);
        assert!(socket.tcp_congestion().unwrap().starts_with(b"reno\0"));
        assert_eq!(socket.device().unwrap().unwrap(), b"lo");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_cannot_be_set_is_named_and_is_no_refusal() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    for (egress, said) in [
        (Egress::new().with_interface("none0"), "none0"),
        (Egress::new().with_interface(""), "1 to 15 bytes"),
        (
            Egress::new().with_interface("sixteen-bytes-17"),
            "1 to 15 bytes",
        ),
        (Egress::new().with_interface("l\0o"), "1 to 15 bytes"),
        (Egress::new().with_dscp(64), "DSCP is 63 at most"),
        (
            Egress::new().with_congestion_control("none"),
            "congestion control none",
        ),
    ] {
        let error = egress.check().unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        let connector = TcpConnector::new().with_egress(egress);
        let error = connector.oneshot(request(&[addr])).await.unwrap_err();
        assert!(matches!(error, ConnectError::Egress { .. }), "{error:?}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(said), "{source}");
        let reply = socks_tower::Error::new(socks_tower::ErrorKind::Connect, error).reply();
        assert_eq!(reply, socks_tower::ReplyCode::GENERAL_FAILURE);
    }
    let elsewhere = Egress::from(Ipv4Addr::new(192, 0, 2, 7)).check();
    let error = elsewhere.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    assert!(error.to_string().contains("bind to 192.0.2.7"), "{error}");
}

#[tokio::test]
async fn an_egress_that_says_nothing_is_in_order() {
    Egress::new().check().unwrap();
    let v6 = SourceAddrs::from(Ipv6Addr::UNSPECIFIED);
    Egress::from(v6.with(Ipv4Addr::LOCALHOST)).check().unwrap();
}

#[tokio::test]
async fn nothing_to_dial_is_an_error_of_its_own() {
    let none = TcpConnector::new().oneshot(request(&[])).await;
    assert!(matches!(none, Err(ConnectError::NoAddress)));
    let port_0 = SocketAddr::from(([127, 0, 0, 1], 0));
    let none = TcpConnector::new().oneshot(request(&[port_0])).await;
    assert!(matches!(none, Err(ConnectError::NoPort)));
}

#[tokio::test]
async fn setup_sees_the_socket_before_it_connects() {
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let connector = TcpConnector::new().with_setup(move |socket, target| {
        assert_eq!(target, addr);
        socket.set_zero_linger()
    });
    let stream = connector.oneshot(request(&[addr])).await.unwrap();
    assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_address_that_never_answers_does_not_hold_up_the_next() {
    let (_full, silent, _queued) = full().await;
    let (_listener, addr) = listen("127.0.0.1:0").await;
    let race = Race::new().with_delay(Race::MIN_DELAY);
    let connector = TcpConnector::new().with_race(race);
    let stream = connector.oneshot(request(&[silent, addr])).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), addr);
}

/// On one address nobody is but the socket that dials it; on another there is
/// somebody.
#[tokio::test]
async fn a_connection_to_itself_is_none_and_the_next_address_has_its_turn() {
    let (listener, there) = listen("127.0.0.1:0").await;
    let itself = SocketAddr::from(([127, 0, 0, 2], there.port()));
    let connector = TcpConnector::new().with_setup(move |socket, addr| match addr == itself {
        true => socket.bind(addr),
        false => Ok(()),
    });
    let request = request(&[itself, there]);
    let (connected, accepted) = tokio::join!(connector.oneshot(request), listener.accept());
    assert_eq!(connected.unwrap().peer_addr().unwrap(), there);
    accepted.unwrap();
}
