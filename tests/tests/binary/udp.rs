//! What is said of UDP on the command line.

use socks_tests::{
    child::Child,
    client::{Refused, associate, datagram},
    patiently,
};
use tokio::net::UdpSocket;

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn without_udp_an_association_is_a_command_that_nobody_knows() {
    let child = Child::start(&["--no-udp"]).await;
    assert_eq!(
        associate(child.addr()).await.unwrap_err(),
        Refused::Request(7)
    );
}

#[tokio::test]
async fn strangers_are_heard_with_a_full_cone_alone() {
    for is_full in [false, true] {
        let mut args = vec!["--allow-private"];
        args.extend(is_full.then_some("--udp-full-cone"));
        let child = Child::start(&args).await;
        let (_control, relay) = associate(child.addr()).await.unwrap();
        let (client, peer, stranger) = (socket().await, socket().await, socket().await);
        let hello = datagram(peer.local_addr().unwrap(), b"hello");
        client.send_to(&hello, relay).await.unwrap();
        let mut bytes = [0; 64];
        let received = patiently("a datagram", peer.recv_from(&mut bytes));
        let (_, outward) = received.await.unwrap();
        // In this order: what comes first is heard first, if it is heard.
        stranger.send_to(b"who", outward).await.unwrap();
        peer.send_to(b"hi", outward).await.unwrap();
        let who = datagram(stranger.local_addr().unwrap(), b"who");
        let hi = datagram(peer.local_addr().unwrap(), b"hi");
        let expected = if is_full { vec![who, hi] } else { vec![hi] };
        for expected in expected {
            let received = patiently("an answer", client.recv_from(&mut bytes));
            let (len, _) = received.await.unwrap();
            assert_eq!(bytes[..len], expected, "{is_full}");
        }
    }
}
