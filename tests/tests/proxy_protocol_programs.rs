//! HAProxy before `socks-proxy`, with the PROXY protocol between them.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

use std::{net::SocketAddr, process::Stdio};

use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    process::Command,
    time::{Duration, sleep},
};

/// HAProxy, which ends when this is dropped.
struct Haproxy {
    addr: SocketAddr,
    _process: tokio::process::Child,
}

impl Haproxy {
    /// Passes connections on to `server`, and introduces them by `option`.
    async fn start(server: SocketAddr, option: &str) -> Self {
        // Free a moment ago; nobody else here asks for this one.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen socks\n bind {addr}\n server socks {server} {option} check inter 100ms\n"
        );
        let mut process = Command::new("haproxy")
            .args(["-db", "-f", "/dev/stdin"])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("apt-get install haproxy");
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(config.as_bytes()).await.unwrap();
        drop(stdin);
        let listens = async {
            while TcpStream::connect(addr).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        patiently("the start of haproxy", listens).await;
        Self {
            addr,
            _process: process,
        }
    }
}

async fn trusting(log: &str) -> Child {
    let flags = ["--allow-private", "--proxy-protocol", "127.0.0.1"];
    let log = ["--log", log, "--log-format", "json"];
    Child::start(&[&flags[..], &log].concat()).await
}

#[tokio::test]
#[ignore = "needs haproxy"]
async fn haproxy_names_the_client_in_either_version() {
    let origin = Origin::echo(V4).await;
    for option in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
    ] {
        let proxy = trusting("info").await;
        let haproxy = Haproxy::start(proxy.addr(), option).await;

        // From another address of loopback, so that nothing is mistaken for it.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        let mut tunnel = socket.connect(haproxy.addr).await.unwrap();
        let client = tunnel.local_addr().unwrap();
        tunnel.write_all(b"\x05\x01\x00").await.unwrap();
        let mut selection = [0; 2];
        tunnel.read_exact(&mut selection).await.unwrap();
        let SocketAddr::V4(target) = origin.addr() else {
            panic!("IPv4")
        };
        let mut request = b"\x05\x01\x00\x01".to_vec();
        request.extend(target.ip().octets());
        request.extend(target.port().to_be_bytes());
        tunnel.write_all(&request).await.unwrap();
        let mut reply = [0; 10];
        tunnel.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[..2], [5, 0]);
        assert_echoes(&mut tunnel, b"through both").await;
        drop(tunnel);

        proxy.wait_for_log("bytes_up").await;
        let log = proxy.log();
        let event = log.lines().find(|line| line.contains("bytes_up")).unwrap();
        for field in [
            r#""target":"socks::access""#.to_owned(),
            r#""client.address":"127.0.0.9""#.to_owned(),
            format!(r#""client.port":{}"#, client.port()),
            r#""network.peer.address":"127.0.0.1""#.to_owned(),
        ] {
            assert!(event.contains(&field), "no {field} in {event}");
        }
    }
}

#[tokio::test]
#[ignore = "needs haproxy"]
async fn haproxy_s_health_checks_are_no_broken_protocol() {
    let proxy = trusting("info").await;
    let haproxy = Haproxy::start(proxy.addr(), "send-proxy-v2 check-send-proxy").await;
    // A check sends its header and hangs up: the client is gone, no more. Our
    // own look whether HAProxy listens counts for one.
    let checked = async {
        while proxy.log().matches("client_gone").count() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    patiently("three health checks", checked).await;
    assert!(!proxy.log().contains(r#""protocol""#), "{}", proxy.log());
    drop(haproxy);
}

#[tokio::test]
async fn a_forged_header_from_anyone_else_is_refused() {
    let proxy = Child::start(&["--proxy-protocol", "192.0.2.0/24", "--log", "info"]).await;
    for header in [
        &b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080\r\n\x05\x01\x00"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\xcb\x04\x38",
    ] {
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        stream.write_all(header).await.unwrap();
        let mut heard = Vec::new();
        let closed = stream.read_to_end(&mut heard);
        patiently("the refusal", closed).await.unwrap();
        assert!(!heard.starts_with(b"\x05"), "{heard:?}");
    }
    proxy.terminate();
    let (_, log) = proxy.wait().await;
    assert!(!log.contains("192.0.2.7"), "{log}");
    assert!(log.contains(r#"client.address=127.0.0.1"#), "{log}");
}

#[tokio::test]
async fn a_trusted_sender_must_send_one_and_others_need_not() {
    let origin = Origin::echo(V4).await;
    let proxy = trusting("info").await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"\x05\x01\x00").await.unwrap();
    let mut heard = Vec::new();
    let closed = stream.read_to_end(&mut heard);
    // With what it sent unread, the close may be a reset.
    let _ = patiently("the close", closed).await;
    assert_eq!(heard, b"");

    let elsewhere = ["--allow-private", "--proxy-protocol", "192.0.2.0/24"];
    let proxy = Child::start(&elsewhere).await;
    let mut tunnel = socks5(proxy.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"plain").await;
}
