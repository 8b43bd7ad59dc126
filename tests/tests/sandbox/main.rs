//! In sandboxes and on kernels that refuse system calls.

#![cfg(target_os = "linux")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod accept;
mod options;
mod sigpipe;
mod udp;

use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    content::Content,
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// `ENOSYS`
const ENOSYS: &str = "38";
/// `EPERM`
const EPERM: &str = "1";
/// `ENOMEM`
const ENOMEM: &str = "12";
/// `EINVAL`
const EINVAL: &str = "22";

/// The call's number, as the rules of the sandbox want it.
fn rule(call: &str, rest: &str) -> String {
    let number = match (call, cfg!(target_arch = "x86_64")) {
        ("accept4", true) => 288,
        ("accept4", false) => 242,
        ("setsockopt", true) => 54,
        ("setsockopt", false) => 208,
        ("splice", true) => 275,
        ("splice", false) => 76,
        ("recvmmsg", true) => 299,
        ("recvmmsg", false) => 243,
        ("sendmmsg", true) => 307,
        ("sendmmsg", false) => 269,
        ("getsockopt", true) => 55,
        ("getsockopt", false) => 209,
        ("sendmsg", true) => 46,
        ("sendmsg", false) => 211,
        _ => panic!("no number of {call}"),
    };
    format!("{number}{rest}")
}

#[tokio::test]
async fn a_proxy_without_splice_serves() {
    let origin = Origin::echo(V4).await;
    let rule = rule("splice", &format!(":{ENOSYS}"));
    let child = Child::start_refusing(&[&rule], &["--allow-private"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"small").await;
}

#[tokio::test]
async fn a_proxy_without_recvmmsg_carries_streams() {
    let origin = Origin::echo(V4).await;
    let rule = rule("recvmmsg", &format!(":{ENOSYS}"));
    let child = Child::start_refusing(&[&rule], &["--allow-private"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    for message in [&b"small"[..], &Content::new(1 << 18).bytes()] {
        assert_echoes(&mut tunnel, message).await;
    }
}

#[tokio::test]
async fn a_splice_that_is_refused_at_any_time_loses_nothing_and_is_logged_once() {
    let content = Content::mib(32);
    let origin = Origin::serve(V4, move |mut stream| async move {
        stream.write_all(&content.bytes()).await.unwrap();
    })
    .await;
    // The first splice fills a pipe, the second empties it.
    for (errno, passing) in [
        (ENOSYS, 0),
        (EPERM, 0),
        (EPERM, 1),
        (EINVAL, 0),
        (EINVAL, 7),
        (ENOSYS, 40),
    ] {
        let rule = rule("splice", &format!(":{errno}:{passing}"));
        let child = Child::start_refusing(&[&rule], &["--allow-private"]).await;
        for _ in 0..2 {
            let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
            let mut received = Vec::new();
            patiently("a download", tunnel.read_to_end(&mut received))
                .await
                .unwrap();
            content.assert_is(&received);
        }
        child.wait_for_log("refuses to splice").await;
        let log = child.log();
        assert_eq!(log.matches("refuses to splice").count(), 1, "{log}");
    }
}

/// A datagram that was there all along waited for another to come.
#[tokio::test]
async fn a_receive_that_fails_is_no_proof_that_there_is_nothing() {
    let rule = rule("recvmmsg", &format!(":{ENOMEM}:0:1"));
    let child = Child::start_refusing(&[&rule], &["--allow-private"]).await;
    let mut control = TcpStream::connect(child.addr()).await.unwrap();
    control.write_all(b"\x05\x01\x00").await.unwrap();
    control.read_exact(&mut [0; 2]).await.unwrap();
    let associate = b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00";
    control.write_all(associate).await.unwrap();
    let mut reply = [0; 10];
    control.read_exact(&mut reply).await.unwrap();
    let port = u16::from_be_bytes([reply[8], reply[9]]);

    let (client, target) = (
        UdpSocket::bind((V4, 0)).await.unwrap(),
        UdpSocket::bind((V4, 0)).await.unwrap(),
    );
    let mut datagram = b"\x00\x00\x00\x01\x7f\x00\x00\x01".to_vec();
    datagram.extend(target.local_addr().unwrap().port().to_be_bytes());
    datagram.extend(b"alone");
    client.send_to(&datagram, (V4, port)).await.unwrap();
    let mut space = [0; 16];
    let received = patiently("the datagram", target.recv(&mut space)).await;
    assert_eq!(&space[..received.unwrap()], b"alone");
}
