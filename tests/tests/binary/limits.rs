//! Time-outs and limits.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socks_tests::{
    child::Child,
    client::{self, assert_echoes, read_to_the_end, socks5},
    keepalive,
    origin::{Origin, V4, V6},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn who_does_not_finish_the_negotiation_is_hung_up_on() {
    let child = Child::start(&["--handshake-timeout", "1"]).await;
    for start in [
        b"".as_slice(),
        b"\x05",
        b"\x05\x01\x00",
        b"\x05\x01\x00\x05\x01",
        b"\x04\x01",
    ] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(child.addr()).await.unwrap();
        stream.write_all(start).await.unwrap();
        patiently("the end", read_to_the_end(&mut stream)).await;
        let lasted = began.elapsed();
        assert!(
            (SECOND..5 * SECOND).contains(&lasted),
            "{start:?}: {lasted:?}"
        );
    }
}

#[tokio::test]
async fn the_deadline_of_the_negotiation_does_not_end_the_tunnel() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--handshake-timeout", "1"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    tokio::time::sleep(SECOND + SECOND / 4).await;
    assert_echoes(&mut tunnel, b"still here").await;
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--idle-timeout", "1"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(SECOND / 2).await;
        assert_echoes(&mut tunnel, b"not silent").await;
    }
    let silent_since = Instant::now();
    patiently("the end", read_to_the_end(&mut tunnel)).await;
    let lasted = silent_since.elapsed();
    assert!((SECOND / 2..5 * SECOND).contains(&lasted), "{lasted:?}");
}

#[tokio::test]
async fn a_half_closed_tunnel_that_is_silent_ends() {
    let origin = Origin::serve(V4, |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let child = Child::start(&["--allow-private", "--half-closed-timeout", "1"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    let mut open = socks5(child.addr(), None, origin.addr()).await.unwrap();
    tunnel.shutdown().await.unwrap();
    patiently("the end", read_to_the_end(&mut tunnel)).await;
    // One that is open is not meant.
    let early = timeout(SECOND, read_to_the_end(&mut open)).await;
    assert!(early.is_err(), "it ended");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn client_and_target_are_both_kept_alive_as_told() {
    const HOUR: u64 = 3600;
    for runtime in ["per-thread", "shared"] {
        for (told, expected) in [
            (None, Some(0..=60)),
            (Some("7200"), Some(HOUR..=2 * HOUR)),
            (Some("0"), None),
        ] {
            let origin = Origin::echo(V4).await;
            let mut args = vec!["--allow-private", "--runtime", runtime];
            args.extend(told.iter().flat_map(|it| ["--keepalive", it]));
            let child = Child::start(&args).await;
            let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
            assert_echoes(&mut tunnel, b"there").await;
            let to_client = (Some(child.addr()), tunnel.local_addr().unwrap());
            for (local, peer) in [to_client, (None, origin.addr())] {
                let due = keepalive::due(local, peer).await;
                let is_as_told = match (&expected, due) {
                    (Some(expected), Some(due)) => expected.contains(&due.as_secs()),
                    (expected, due) => expected.is_none() && due.is_none(),
                };
                assert!(is_as_told, "{peer}: {due:?}, not {expected:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_time_out_is_too_long() {
    let origin = Origin::echo(V4).await;
    let forever = u64::MAX.to_string();
    let child = Child::start(&[
        "--allow-private",
        "--handshake-timeout",
        &forever,
        "--connect-timeout",
        &forever,
        "--idle-timeout",
        &forever,
        "--half-closed-timeout",
        &forever,
        "--keepalive",
        &forever,
        "--grace",
        &forever,
    ])
    .await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"carried").await;
    child.terminate();
    assert_echoes(&mut tunnel, b"still carried").await;
    drop(tunnel);
    let (status, log) = child.wait().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn as_many_connections_as_there_can_be_numbers_may_be_allowed() {
    let most = usize::MAX.to_string();
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--max-connections", &most]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"served").await;
}

#[tokio::test]
async fn a_full_proxy_leaves_the_next_client_waiting() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--max-connections", "1"]).await;
    let mut first = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut first, b"first").await;
    let second = socks5(child.addr(), None, origin.addr());
    tokio::pin!(second);
    let early = timeout(SECOND / 2, &mut second).await;
    assert!(early.is_err(), "it did not wait");
    drop(first);
    let mut second = patiently("the second", second).await.unwrap();
    assert_echoes(&mut second, b"second").await;
}

#[tokio::test]
async fn one_thread_serves_many() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--threads", "1"]).await;
    let mut tunnels = Vec::new();
    for _ in 0..100 {
        tunnels.push(socks5(child.addr(), None, origin.addr()).await.unwrap());
    }
    for tunnel in &mut tunnels {
        assert_echoes(tunnel, b"each").await;
    }
}

#[tokio::test]
async fn a_client_may_be_held_to_so_many_connections() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--max-connections-per-client", "1"]).await;
    let mut first = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut first, b"the first").await;

    let mut second = TcpStream::connect(child.addr()).await.unwrap();
    patiently("the end", read_to_the_end(&mut second)).await;

    drop(first);
    let again = async {
        while socks5(child.addr(), None, origin.addr()).await.is_err() {
            tokio::time::sleep(SECOND / 20).await;
        }
    };
    patiently("another connection", again).await;
}

/// A target that sends datagrams back.
pub(crate) async fn echo(ip: IpAddr) -> (SocketAddr, AbortOnDropHandle<()>) {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut datagram = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut datagram).await {
            let datagram = datagram.get(..len).unwrap();
            socket.send_to(datagram, from).await.unwrap();
        }
    });
    (addr, AbortOnDropHandle::new(task))
}

/// A UDP association that has sent to each of `targets`, and heard of it. None
/// if the proxy does not take the connection.
async fn associate(proxy: SocketAddr, targets: &[SocketAddr]) -> Option<TcpStream> {
    let mut control = TcpStream::connect(proxy).await.unwrap();
    let ask = b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00";
    control.write_all(ask).await.unwrap();
    let mut answer = [0; 12];
    let answered = timeout(SECOND, control.read_exact(&mut answer))
        .await
        .ok()?;
    answered.unwrap();
    assert_eq!(answer[2..4], [5, 0]);
    let port = u16::from_be_bytes([answer[10], answer[11]]);
    let socket = UdpSocket::bind((V4, 0)).await.unwrap();
    socket.connect((V4, port)).await.unwrap();
    for target in targets {
        let mut datagram = vec![0, 0, 0];
        match target.ip() {
            IpAddr::V4(ip) => {
                datagram.push(1);
                datagram.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                datagram.push(4);
                datagram.extend(ip.octets());
            }
        }
        datagram.extend(target.port().to_be_bytes());
        datagram.extend(b"hello");
        socket.send(&datagram).await.unwrap();
        let mut back = [0; 64];
        let len = patiently("a datagram", socket.recv(&mut back))
            .await
            .unwrap();
        assert!(back.get(..len).unwrap().ends_with(b"hello"));
    }
    Some(control)
}

#[tokio::test]
async fn as_many_are_let_in_as_there_are_descriptors_for_associations_of_both_families() {
    let (v4, _echo) = echo(V4).await;
    let (v6, _echo) = echo(V6).await;
    let child = Child::start_with_descriptors(128, &["--allow-private"]).await;
    let mut held = Vec::new();
    while let Some(control) = associate(child.addr(), &[v4, v6]).await {
        held.push(control);
        assert!(held.len() < 128, "each takes four");
    }
    assert!(held.len() > 10, "{}", held.len());
    assert_eq!(child.log(), "");
    // The next has its turn when one has ended.
    held.pop();
    let again = async { while associate(child.addr(), &[v4, v6]).await.is_none() {} };
    patiently("a place", again).await;
}

#[tokio::test]
async fn udp_max_peers_says_how_many_are_heard() {
    let args = ["--allow-private", "--udp-max-peers", "2"];
    let child = Child::start(&args).await;
    let (_control, relay) = client::associate(child.addr()).await.unwrap();
    let bind = || UdpSocket::bind("127.0.0.1:0");
    let client = bind().await.unwrap();
    let mut bytes = [0; 64];
    let mut peers = Vec::new();
    for _ in 0..3 {
        let peer = bind().await.unwrap();
        let hello = client::datagram(peer.local_addr().unwrap(), b"hello");
        client.send_to(&hello, relay).await.unwrap();
        let received = patiently("a datagram", peer.recv_from(&mut bytes));
        let (_, outward) = received.await.unwrap();
        peers.push((peer, outward));
    }
    // In this order: had the first been heard, it would come first.
    for (peer, outward) in &peers {
        peer.send_to(b"hi", outward).await.unwrap();
    }
    for (peer, _) in &peers[1..] {
        let received = patiently("an answer", client.recv_from(&mut bytes));
        let (len, _) = received.await.unwrap();
        let answer = client::datagram(peer.local_addr().unwrap(), b"hi");
        assert_eq!(bytes[..len], answer);
    }
}
