//! `accept4` that fails.

use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rule;

/// Those that accept(2) says to try again after: they are about a connection
/// that was lost before it was accepted.
const PASSING: [(&str, i32); 11] = [
    ("EPERM", 1),
    ("ENONET", 64),
    ("EPROTO", 71),
    ("ENOPROTOOPT", 92),
    ("EOPNOTSUPP", 95),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ECONNABORTED", 103),
    ("ETIMEDOUT", 110),
    ("EHOSTDOWN", 112),
    ("EHOSTUNREACH", 113),
];

#[tokio::test]
async fn an_error_of_accept_that_passes_ends_neither_the_proxy_nor_its_tunnels() {
    for runtime in ["per-thread", "shared"] {
        let origin = Origin::echo(V4).await;
        // The first is accepted, and then each fails once, one after the other.
        let rules = PASSING.map(|(_, errno)| rule("accept4", &format!(":{errno}:1:1")));
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        let args = ["--allow-private", "--threads", "1", "--runtime", runtime];
        let child = Child::start_refusing(&rules, &args).await;
        let mut before = socks5(child.addr(), None, origin.addr()).await.unwrap();
        assert_echoes(&mut before, b"before").await;
        let mut after = socks5(child.addr(), None, origin.addr()).await.unwrap();
        assert_echoes(&mut after, b"after").await;
        assert_echoes(&mut before, b"still here").await;
    }
}

#[tokio::test]
async fn a_listener_that_is_none_ends_the_proxy_with_the_reason() {
    // EBADF, EINVAL, ENOTSOCK
    for errno in [9, 22, 88] {
        let rule = rule("accept4", &format!(":{errno}"));
        let child = Child::start_refusing(&[&rule], &["--threads", "1"]).await;
        let _client = TcpStream::connect(child.addr()).await.unwrap();
        let (status, log) = child.wait().await;
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(&format!("(os error {errno})")), "{log}");
    }
}

#[tokio::test]
async fn a_peer_comes_by_bind_after_an_error_of_accept_that_passes() {
    let rules = PASSING.map(|(_, errno)| rule("accept4", &format!(":{errno}:1:1")));
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let args = ["--allow-private", "--bind", "--threads", "1"];
    let child = Child::start_refusing(&rules, &args).await;
    let mut client = TcpStream::connect(child.addr()).await.unwrap();
    client
        .write_all(b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x15")
        .await
        .unwrap();
    let mut replies = [0; 12];
    patiently("the first reply", client.read_exact(&mut replies))
        .await
        .unwrap();
    assert_eq!(replies[2..4], [5, 0]);
    let port = u16::from_be_bytes([replies[10], replies[11]]);
    let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    patiently("the second reply", client.read_exact(&mut replies[2..]))
        .await
        .unwrap();
    assert_eq!(replies[2..4], [5, 0]);
    peer.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    client.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
}
