//! A process that was stopped for longer than its timeouts, as a machine that
//! slept: what came meanwhile waits in its sockets, and is no silence.

use std::time::Duration;

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::sleep,
};

const TIMEOUT: &str = "3";

/// Stops `child` for longer than its timeouts, during which `meanwhile` happens.
async fn stopped(child: &Child, meanwhile: impl AsyncFnOnce()) {
    // It has nothing to do, and waits.
    sleep(Duration::from_millis(200)).await;
    child.signal(Signal::STOP);
    sleep(Duration::from_millis(200)).await;
    meanwhile().await;
    sleep(Duration::from_secs(4)).await;
    child.signal(Signal::CONT);
}

/// Several, for a single one may be lucky.
const MANY: usize = 10;

#[tokio::test]
async fn a_tunnel_in_which_bytes_wait_is_not_idle() {
    for runtime in ["per-thread", "shared"] {
        let origin = Origin::echo(V4).await;
        let args = [
            "--allow-private",
            "--idle-timeout",
            TIMEOUT,
            "--runtime",
            runtime,
        ];
        let child = Child::start(&args).await;
        let mut tunnels = Vec::new();
        for _ in 0..MANY {
            let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
            assert_echoes(&mut tunnel, b"before").await;
            tunnels.push(tunnel);
        }
        stopped(&child, async || {
            for tunnel in &mut tunnels {
                tunnel.write_all(b"meanwhile").await.unwrap();
            }
        })
        .await;
        for tunnel in &mut tunnels {
            let mut echo = [0; 9];
            patiently("an echo", tunnel.read_exact(&mut echo))
                .await
                .unwrap();
            assert_eq!(&echo, b"meanwhile");
        }
    }
}

#[tokio::test]
async fn a_client_whose_request_waits_is_not_late() {
    let origin = Origin::echo(V4).await;
    let args = ["--allow-private", "--handshake-timeout", TIMEOUT];
    let child = Child::start(&args).await;
    let mut clients = Vec::new();
    for greeted in [false, true].repeat(MANY / 2) {
        let mut client = TcpStream::connect(child.addr()).await.unwrap();
        if greeted {
            client.write_all(b"\x05\x01\x00").await.unwrap();
            client.read_exact(&mut [0; 2]).await.unwrap();
        }
        clients.push((client, greeted));
    }
    // Those who have not spoken are accepted by then, too.
    socks5(child.addr(), None, origin.addr()).await.unwrap();
    stopped(&child, async || {
        for (client, greeted) in &mut clients {
            let mut words = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01".to_vec();
            words.extend(origin.port().to_be_bytes());
            let rest = if *greeted { &words[3..] } else { &words };
            client.write_all(rest).await.unwrap();
        }
    })
    .await;
    for (client, greeted) in &mut clients {
        let mut replies = [0; 12];
        let replies = if *greeted {
            &mut replies[2..]
        } else {
            &mut replies
        };
        patiently("a reply", client.read_exact(replies))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_association_for_which_datagrams_wait_is_not_idle() {
    let args = ["--allow-private", "--udp-idle-timeout", TIMEOUT];
    let child = Child::start(&args).await;
    let target = UdpSocket::bind((V4, 0)).await.unwrap();
    let mut datagram = b"\x00\x00\x00\x01\x7f\x00\x00\x01".to_vec();
    datagram.extend(target.local_addr().unwrap().port().to_be_bytes());
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let mut control = TcpStream::connect(child.addr()).await.unwrap();
        let words = b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00";
        control.write_all(words).await.unwrap();
        let mut replies = [0; 12];
        control.read_exact(&mut replies).await.unwrap();
        let client = UdpSocket::bind((V4, 0)).await.unwrap();
        let port = u16::from_be_bytes([replies[10], replies[11]]);
        client.connect((V4, port)).await.unwrap();
        client.send(&datagram).await.unwrap();
        patiently("a datagram", target.recv(&mut [0]))
            .await
            .unwrap();
        clients.push((control, client));
    }
    stopped(&child, async || {
        for (_, client) in &clients {
            client.send(&datagram).await.unwrap();
        }
    })
    .await;
    for _ in &clients {
        patiently("a datagram", target.recv(&mut [0]))
            .await
            .unwrap();
    }
}
