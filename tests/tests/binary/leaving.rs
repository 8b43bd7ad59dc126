//! From which address, by which interface.

use std::net::{IpAddr, SocketAddr};

use socks_tests::{
    child::{self, Child},
    client::{Login, associate, datagram, socks5},
    patiently,
};
use tokio::net::{TcpListener, UdpSocket};

async fn seen(proxy: SocketAddr, login: Option<Login<'_>>, target: &TcpListener) -> IpAddr {
    let addr = target.local_addr().unwrap();
    let both = async { tokio::join!(socks5(proxy, login, addr), target.accept()) };
    let (tunnel, accepted) = patiently("a tunnel", both).await;
    tunnel.unwrap();
    accepted.unwrap().1.ip()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

#[tokio::test]
async fn source_addresses_take_turns_and_the_interface_is_used() {
    let child = Child::start(&[
        "--allow-private",
        "--source=127.0.0.5",
        "--source=127.0.0.6",
        "--interface=lo",
    ])
    .await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for last in [5, 6, 5] {
        assert_eq!(seen(child.addr(), None, &tcp).await, ip(last));
    }
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_client, relay) = associate(child.addr()).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let hello = datagram(udp.local_addr().unwrap(), b"hello");
    socket.send_to(&hello, relay).await.unwrap();
    let mut bytes = [0; 8];
    let received = patiently("the datagram", udp.recv_from(&mut bytes)).await;
    assert_eq!(received.unwrap().1.ip(), ip(6));
}

#[tokio::test]
async fn a_user_and_a_client_keep_to_an_address() {
    let child = Child::start(&[
        "--allow-private",
        "--user=joe:x",
        "--user=sue:x",
        "--source=127.0.7.0/24",
        "--source-by=user",
    ])
    .await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let joe = seen(child.addr(), Some(("joe", "x")), &tcp).await;
    let sue = seen(child.addr(), Some(("sue", "x")), &tcp).await;
    assert_ne!(joe, sue);
    for _ in 0..3 {
        assert_eq!(seen(child.addr(), Some(("joe", "x")), &tcp).await, joe);
    }

    let by_client = ["--source=127.0.7.0/24", "--source-by=client"];
    let args = [&by_client[..], &["--allow-private"]].concat();
    let child = Child::start(&args).await;
    let first = seen(child.addr(), None, &tcp).await;
    for _ in 0..3 {
        assert_eq!(seen(child.addr(), None, &tcp).await, first);
    }
}

#[tokio::test]
async fn a_mistake_in_what_leaves_is_told_at_the_start() {
    for (args, message) in [
        (&["--mark=0xg"][..], "not a number of 32 bits"),
        (&["--mark=4294967296"], "not a number of 32 bits"),
        (&["--source=here"], "not ADDRESS or ADDRESS/BITS"),
    ] {
        child::run(args).await.expect_failure(2, message);
    }
    let nothing = child::run(&["--source-by=user"]).await;
    nothing.expect_failure(1, "add --source <ADDR>");
    let elsewhere = child::run(&["--source=192.0.2.7"]).await;
    elsewhere.expect_failure(1, "cannot bind to 192.0.2.7: ");
    let none = child::run(&["--interface=none0"]).await;
    none.expect_failure(1, "cannot send by interface none0: ");
}
