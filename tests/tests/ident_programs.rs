//! Whose connection a SOCKS4 client's is, as an identd says: one of ours, and oidentd,
//! with curl as the client.
//!
//! Those that need programs are ignored unless asked for:
//! `cargo test -p socks-tests --test ident_programs -- --ignored`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

use std::{net::SocketAddr, process::Stdio, time::Duration};

use socks_tests::{
    content::Content,
    origin::{ClosedPort, Origin, V4},
    patiently,
    program::{self, Ran},
};
use socks_tower::{AuthenticateLayer, Rules, Server, Socks, Users, stages::authenticate::Ident};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::yield_now,
};

const FILE: Content = Content::mib(1);

/// A proxy that asks the identd at `port`.
async fn proxy(port: u16) -> SocketAddr {
    let loopback = "127.0.0.0/8".parse().unwrap();
    let ident = Ident::new([loopback]).with_port(port);
    let auth = AuthenticateLayer::password(Users::new())
        .with_user_ids(ident.with_timeout(Duration::from_secs(1)));
    let rules = Rules::new().permit_special(loopback);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(Socks::new().with_auth(auth).with_rules(rules)));
    addr
}

/// What the proxy says to a SOCKS4 client that is `user_id`.
async fn reply(proxy: SocketAddr, user_id: &str, target: u16) -> (u8, SocketAddr) {
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let mut request = b"\x04\x01".to_vec();
    request.extend(target.to_be_bytes());
    request.extend([127, 0, 0, 1]);
    request.extend(user_id.as_bytes());
    request.push(0);
    client.write_all(&request).await.unwrap();
    let mut reply = [0; 8];
    patiently("a reply", client.read_exact(&mut reply))
        .await
        .unwrap();
    let [_, code, ..] = reply;
    (code, client.local_addr().unwrap())
}

const GRANTED: u8 = 90;
const REJECTED: u8 = 91;

#[tokio::test]
async fn the_host_of_a_socks4_client_is_asked_whose_connection_it_is() {
    let identd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = proxy(identd.local_addr().unwrap().port()).await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port();
    for (answer, claim, code) in [
        ("USERID : UNIX : joe\r\n", "joe", GRANTED),
        ("USERID : UNIX : joe\r\n", "", GRANTED),
        ("USERID : UNIX : joe\r\n", "ann", REJECTED),
        ("USERID : OTHER : joe\r\n", "joe", REJECTED),
        ("ERROR : HIDDEN-USER\r\n", "joe", REJECTED),
        ("", "joe", REJECTED),
    ] {
        let answers = async {
            let (stream, _) = identd.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut ports = String::new();
            stream.read_line(&mut ports).await.unwrap();
            let ports = ports.trim_end().to_owned();
            let answer = format!("{ports} : {answer}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            ports
        };
        let (ports, (said, client)) = tokio::join!(answers, reply(proxy, claim, port));
        assert_eq!(said, code, "{answer:?} {claim:?}");
        assert_eq!(ports, format!("{}, {}", client.port(), proxy.port()));
    }
}

#[tokio::test]
async fn whose_host_cannot_be_asked_is_rejected() {
    let closed = ClosedPort::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for identd in [closed.addr(), silent.local_addr().unwrap()] {
        let proxy = proxy(identd.port()).await;
        assert_eq!(reply(proxy, "joe", 80).await.0, REJECTED, "{identd}");
    }
}

async fn oidentd() -> (Child, u16) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let port_arg = port.to_string();
    let mut oidentd = Command::new("/usr/sbin/oidentd")
        .args([
            "--foreground",
            "--nosyslog",
            "--address",
            "127.0.0.1",
            "--port",
            &port_arg,
        ])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    patiently("oidentd", async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(oidentd.try_wait().unwrap().is_none(), "oidentd has ended");
            yield_now().await;
        }
    })
    .await;
    (oidentd, port)
}

async fn curl(proxy: SocketAddr, user_id: &str, origin: &Origin) -> Ran {
    let (proxy, url) = (
        format!("socks4://{user_id}@{proxy}"),
        format!("http://{}/", origin.addr()),
    );
    let args = ["-q", "--silent", "--show-error", "--proxy", &proxy, &url];
    program::run("curl", "curl", &args).await
}

#[tokio::test]
#[ignore = "needs curl and oidentd"]
async fn curl_is_who_oidentd_says_it_is_and_nobody_else() {
    let (_oidentd, port) = oidentd().await;
    let proxy = proxy(port).await;
    let origin = Origin::http(V4, FILE).await;
    let me = program::run("id", "coreutils", &["-un"])
        .await
        .expect_success();
    let me = String::from_utf8(me).unwrap();

    let ran = curl(proxy, me.trim_end(), &origin).await;
    FILE.assert_is(&ran.expect_success());

    let ran = curl(proxy, "somebody-else", &origin).await;
    ran.expect_failure(97, "request rejected or failed");
}
