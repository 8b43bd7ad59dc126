//! BIND and Tor's look-ups with programs of others.
//!
//! They must be installed, so these tests are ignored unless asked for:
//! `cargo test -p socks-tests --test bind_programs -- --ignored`. Node finds its
//! packages by `NODE_PATH`.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where it cannot go on"
)]

use std::{
    io,
    net::{IpAddr, SocketAddr},
    process::{Output, Stdio},
    time::Duration,
};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, Command, DomainName, HandshakeLayer,
    NoAuth, Permit, Relay, ResolveLayer, Rules, Server, TorResolve, TorResolvePtr,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpSocket, TcpStream},
    process::{Child, ChildStdout, Command as Program},
    time::timeout,
};
use tower::{Layer, ServiceBuilder, service_fn};

const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy without CONNECT. It knows one name, both ways.
async fn proxy() -> SocketAddr {
    let resolver = service_fn(|name: DomainName| async move {
        match name.as_str() {
            "db.example" => Ok([IpAddr::from([127, 0, 0, 2])]),
            _ => Err(io::Error::other("no such name")),
        }
    });
    let names = service_fn(|ip: IpAddr| async move {
        match ip.to_string().as_str() {
            "127.0.0.2" => Ok([DomainName::new("db.example").unwrap()]),
            _ => Err(io::Error::other("no such address")),
        }
    });
    let rules = Rules::new().permit_special("127.0.0.0/8".parse().unwrap());
    let permit = ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(rules))
        .service(Permit::new());
    let bind = BindLayer::new(permit.clone()).layer(Relay::new());
    let commands = ByCommand::new()
        .on(Command::RESOLVE, TorResolve::new(permit.clone()))
        .on(Command::RESOLVE_PTR, TorResolvePtr::new(permit, names))
        .bind(bind);
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(commands);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    addr
}

/// Node with the script, and what it prints.
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn new(version: &str, proxy: SocketAddr, expected: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/bind.cjs");
        let mut child = Program::new("node")
            .args([script, version, &proxy.port().to_string(), expected])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The address on the next line, behind `word`.
    async fn says(&mut self, word: &str) -> SocketAddr {
        let line = timeout(PATIENCE, self.lines.next_line()).await.unwrap();
        let line = line.unwrap().unwrap();
        let addr = line.strip_prefix(word).unwrap_or_else(|| panic!("{line}"));
        addr.trim().replace(' ', ":").parse().unwrap()
    }
}

#[tokio::test]
#[ignore = "needs node and the npm package socks"]
async fn node_binds_in_socks4_4a_and_5() {
    let proxy = proxy().await;
    for (version, expected) in [
        ("4", "127.0.0.2"),
        ("4", "db.example"),
        ("5", "127.0.0.2"),
        ("5", "db.example"),
        ("5", "0.0.0.0"),
    ] {
        let mut node = Node::new(version, proxy, expected);
        let bound = node.says("bound").await;

        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut peer = socket.connect(bound).await.unwrap();

        assert_eq!(node.says("peer").await, peer.local_addr().unwrap());
        peer.write_all(b"hello").await.unwrap();
        let mut heard = [0; 12];
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"heard: hello");
        peer.shutdown().await.unwrap();
        let ended = timeout(PATIENCE, node.child.wait()).await.unwrap();
        assert!(ended.unwrap().success());
    }
}

#[tokio::test]
#[ignore = "needs node and the npm package socks"]
async fn node_s_bind_of_socks4_ends_with_a_wrong_peer() {
    let proxy = proxy().await;
    let mut node = Node::new("4", proxy, "127.0.0.2");
    let bound = node.says("bound").await;

    let _wrong = TcpStream::connect(bound).await.unwrap();

    let line = timeout(PATIENCE, node.lines.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    assert!(line.starts_with("error "), "{line}");
    let ended = timeout(PATIENCE, node.child.wait()).await.unwrap();
    assert!(!ended.unwrap().success());
}

async fn tor_resolve(args: &[&str], proxy: SocketAddr) -> Output {
    let output = Program::new("tor-resolve")
        .args(args)
        .arg(proxy.to_string())
        .kill_on_drop(true)
        .output();
    timeout(PATIENCE, output).await.unwrap().unwrap()
}

#[tokio::test]
#[ignore = "needs tor-resolve, of Debian's package tor"]
async fn tor_resolve_finds_addresses_and_names() {
    let proxy = proxy().await;
    for (args, answer) in [
        (&["db.example"][..], "127.0.0.2"),
        (&["-5", "db.example"], "127.0.0.2"),
        (&["-4", "db.example"], "127.0.0.2"),
        (&["-x", "127.0.0.2"], "db.example"),
    ] {
        let output = tor_resolve(args, proxy).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert_eq!(said.trim(), answer, "{args:?}");
    }
}

#[tokio::test]
#[ignore = "needs tor-resolve, of Debian's package tor"]
async fn tor_resolve_hears_that_there_is_nothing_to_find() {
    let proxy = proxy().await;
    for args in [
        &["nowhere.example"][..],
        &["-4", "nowhere.example"],
        &["-x", "127.0.0.3"],
        &["-x", "10.0.0.1"],
    ] {
        let output = tor_resolve(args, proxy).await;
        assert!(!output.status.success(), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}
