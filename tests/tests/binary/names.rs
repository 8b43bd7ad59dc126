//! Names, by the servers that the operator gives.

#![expect(clippy::indexing_slicing, reason = "what fails here fails the test")]

use std::net::{Ipv4Addr, SocketAddr};

use socks_tests::{
    child::{self, Child},
    client::assert_echoes,
    origin::{Origin, V4},
    patiently,
};
use socks_tower::{Command, Request, Session, Socks5Connector, Target, works::upstream::direct};
use tokio::net::UdpSocket;
use tower::ServiceExt;

/// A DNS server that has 127.0.0.1 for every name, and no IPv6.
async fn server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((_, client)) = socket.recv_from(&mut query).await {
            let labels = query[12..].iter().position(|byte| *byte == 0).unwrap();
            let question = &query[12..12 + labels + 5];
            let is_v4 = question[labels + 2] == 1;
            // A response; as many answers as it has.
            let mut reply = [
                &query[..2],
                &[0x81, 0x80, 0, 1, 0, is_v4.into(), 0, 0, 0, 0],
            ]
            .concat();
            reply.extend(question);
            if is_v4 {
                // The name of the question, A, IN, a minute, four bytes.
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&reply, client).await.unwrap();
        }
    });
    addr
}

/// Asks the child for a tunnel to the origin, by name.
async fn reaches(child: &Child, origin: &Origin) -> bool {
    let target: Target = format!("db.example:{}", origin.addr().port())
        .parse()
        .unwrap();
    let request = Request::new(Session::new(), Command::CONNECT, target);
    let connector = Socks5Connector::new(child.addr().into(), direct());
    match patiently("a tunnel", connector.oneshot(request)).await {
        Ok(mut tunnel) => {
            assert_echoes(&mut tunnel.io, b"there and back").await;
            true
        }
        Err(_) => false,
    }
}

#[tokio::test]
async fn the_servers_given_are_asked_and_the_family_is_the_operator_s() {
    let origin = Origin::echo(V4).await;
    let server = server().await.to_string();
    for (family, is_reached) in [
        (&[][..], true),
        (&["--family", "ipv4"], true),
        (&["--family", "prefer-ipv6"], true),
        (&["--family", "ipv6"], false),
    ] {
        for runtime in ["per-thread", "shared"] {
            let dns = ["--dns", &server, "--allow-private", "--runtime", runtime];
            let child = Child::start(&[&dns[..], family].concat()).await;
            assert_eq!(reaches(&child, &origin).await, is_reached, "{family:?}");
        }
    }
    // What it leads to is judged.
    let child = Child::start(&["--dns", &server]).await;
    assert!(!reaches(&child, &origin).await);
}

#[tokio::test]
async fn a_datagram_s_name_is_looked_up_by_the_servers_given() {
    let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = target.local_addr().unwrap().port();
    let server = server().await.to_string();
    let child = Child::start(&["--dns", &server, "--allow-private"]).await;
    let proxy = Socks5Connector::new(child.addr().into(), direct());
    let socket = patiently("an association", proxy.associate())
        .await
        .unwrap();
    let name: Target = format!("db.example:{port}").parse().unwrap();
    socket.send_to(b"there", &name).await.unwrap();

    let mut heard = [0; 16];
    let (len, from) = patiently("a datagram", target.recv_from(&mut heard))
        .await
        .unwrap();
    assert_eq!(&heard[..len], b"there");
    target.send_to(b"and back", from).await.unwrap();
    let (len, from) = patiently("an answer", socket.recv_from(&mut heard))
        .await
        .unwrap();
    assert_eq!(&heard[..len], b"and back");
    assert_eq!(from.to_string(), format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn resolve_is_answered_by_the_servers_given() {
    let server = server().await.to_string();
    let child = Child::start(&["--dns", &server, "--resolve-commands", "--allow-private"]).await;
    let asked = tokio_socks::tcp::Socks5Stream::tor_resolve(child.addr(), ("db.example", 0));
    let found = patiently("an answer", asked).await.unwrap();
    assert_eq!(found.to_string(), "127.0.0.1:0");
}

#[tokio::test]
async fn a_server_that_is_none_is_answered_with_a_hint() {
    for (server, hint) in [
        ("dns.example", "no address of a DNS server"),
        ("tls://dns.example", "certificate, if any, goes behind #"),
        ("", "no address"),
    ] {
        let ran = child::run(&["--dns", server]).await;
        ran.expect_failure(2, hint);
    }
    let ran = child::run(&["--dns", "system", "--dns", "127.0.0.1"]).await;
    ran.expect_failure(1, "cannot stand beside other servers");
}
