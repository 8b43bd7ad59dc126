//! BIND and Tor's look-ups with programs of others.
//!
//! They must be installed, so these tests are ignored unless asked for:
//! `cargo test -p socks-tests --test bind_programs -- --ignored`. Node finds its
//! packages by `NODE_PATH`.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where it cannot go on"
)]

use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    process::{Output, Stdio},
    time::Duration,
};

use socks_tests::namespace::{ip, is_inside};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, Command, DomainName, HandshakeLayer,
    NoAuth, Permit, Relay, Request, ResolveLayer, Rules, Server, TorResolve, TorResolvePtr,
    UdpAssociate,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    process::{Child, ChildStdout, Command as Program},
    time::timeout,
};
use tower::{Layer, ServiceBuilder, service_fn};

const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy without CONNECT, on loopback. It knows one name, both ways.
async fn proxy() -> SocketAddr {
    let rules = Rules::new().permit_special("127.0.0.0/8".parse().unwrap());
    proxy_at("127.0.0.1:0", rules).await
}

async fn proxy_at(addr: &str, rules: Rules) -> SocketAddr {
    let resolver = service_fn(
        |Request { target: name, .. }: Request<DomainName>| async move {
            match name.as_str() {
                "db.example" => Ok([IpAddr::from([127, 0, 0, 2])]),
                _ => Err(io::Error::other("no such name")),
            }
        },
    );
    let names = service_fn(|Request { target: ip, .. }: Request<IpAddr>| async move {
        match ip.to_string().as_str() {
            "127.0.0.2" => Ok([DomainName::new("db.example").unwrap()]),
            _ => Err(io::Error::other("no such address")),
        }
    });
    let permit = ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(rules))
        .service(Permit::new());
    let bind = BindLayer::new(permit.clone()).layer(Relay::new());
    let commands = ByCommand::new()
        .on(Command::RESOLVE, TorResolve::new(permit.clone()))
        .on(
            Command::RESOLVE_PTR,
            TorResolvePtr::new(permit.clone(), names),
        )
        .udp_associate(UdpAssociate::new(permit))
        .bind(bind);
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(commands);
    let server = Server::bind(addr).await.unwrap();
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

/// An address of a link in this namespace, with its scope: any link will do.
async fn link_local(port: u16) -> SocketAddrV6 {
    ip("address add fe80::7/64 dev lo nodad");
    let index = fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    let index = index.trim().parse().unwrap();
    let addr = |port| SocketAddrV6::new("fe80::7".parse().unwrap(), port, 0, index);
    // It can be bound to, and there is a route, a moment later.
    let there = async {
        while TcpListener::bind(addr(0)).await.is_err()
            || TcpStream::connect(addr(port)).await.is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, there).await.unwrap();
    addr(port)
}

/// Asks for `command` about `[::]:0`; gives the address that is told.
async fn asks(proxy: SocketAddrV6, command: u8) -> (TcpStream, SocketAddrV6) {
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let request = [&[5, 1, 0, 5, command, 0, 4][..], &[0; 18]].concat();
    client.write_all(&request).await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    let told = told(&mut client).await;
    assert_eq!(told.ip(), proxy.ip());
    let told = SocketAddrV6::new(*told.ip(), told.port(), 0, proxy.scope_id());
    (client, told)
}

async fn told(client: &mut TcpStream) -> SocketAddrV6 {
    let mut reply = [0; 22];
    timeout(PATIENCE, client.read_exact(&mut reply))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(reply[..4], [5, 0, 0, 4]);
    let ip: [u8; 16] = reply[4..20].try_into().unwrap();
    let port = u16::from_be_bytes([reply[20], reply[21]]);
    SocketAddrV6::new(ip.into(), port, 0, 0)
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, and ip, of iproute2"]
async fn a_client_on_a_link_is_listened_for_on_that_link() {
    if !is_inside("a_client_on_a_link_is_listened_for_on_that_link") {
        return;
    }
    let proxy = proxy_at("[::]:0", Rules::new().permit_all_special()).await;
    let proxy = link_local(proxy.port()).await;

    let (mut client, bound) = asks(proxy, 2).await;
    let mut peer = TcpStream::connect(bound).await.unwrap();
    let SocketAddr::V6(from) = peer.local_addr().unwrap() else {
        panic!("it came by {proxy}");
    };
    let came = told(&mut client).await;
    assert_eq!((came.ip(), came.port()), (from.ip(), from.port()));
    peer.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");

    let (_client, relay) = asks(proxy, 3).await;
    let target = UdpSocket::bind("[::1]:0").await.unwrap();
    let client = SocketAddrV6::new(*proxy.ip(), 0, 0, proxy.scope_id());
    let client = UdpSocket::bind(client).await.unwrap();
    let port = target.local_addr().unwrap().port().to_be_bytes();
    let ip = Ipv6Addr::LOCALHOST.octets();
    let header = [&[0, 0, 0, 4][..], &ip, &port].concat();
    let hello = [&header[..], b"hello"].concat();
    client.send_to(&hello, relay).await.unwrap();
    let mut bytes = [0; 64];
    let received = timeout(PATIENCE, target.recv_from(&mut bytes)).await;
    let (_, outward) = received.unwrap().unwrap();
    target.send_to(b"hello", outward).await.unwrap();
    let received = timeout(PATIENCE, client.recv_from(&mut bytes)).await;
    let (len, _) = received.unwrap().unwrap();
    assert_eq!(bytes[..len], hello);
}
