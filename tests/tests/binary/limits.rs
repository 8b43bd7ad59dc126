//! Time-outs and limits.

use std::time::Duration;

use socks_tests::{
    child::Child,
    client::{assert_echoes, read_to_the_end, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

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
