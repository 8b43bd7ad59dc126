//! UDP ASSOCIATE with programs of others: PySocks, and the package `socks` of
//! Node.
//!
//! PySocks is that of `$SOCKS_TESTS_PYTHON`, else of `python3`. Node finds
//! `socks` by `$NODE_PATH`: `npm install --prefix DIR socks`, and then
//! `NODE_PATH=DIR/node_modules`.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use std::{env, net::SocketAddr, time::Duration};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ByCommand, HandshakeLayer, HostsLayer, Permit, ResolveLayer,
    Rules, Server, SystemResolver, UdpAssociate, Users,
};
use tokio::{net::UdpSocket, process::Command, time::timeout};
use tower::{Layer, ServiceBuilder};

/// A proxy for joe, whose password is `secret`. It knows `echo.example`.
async fn proxy() -> SocketAddr {
    let name = "echo.example".parse().unwrap();
    let hosts = HostsLayer::new().with_host(name, ["127.0.0.1".parse().unwrap()]);
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(hosts.layer(SystemResolver::new())))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(Permit::new());
    let users = Users::new().with("joe", "secret").unwrap();
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(users))
        .service(ByCommand::new().udp_associate(UdpAssociate::new(judge)));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    addr
}

/// A target that gives everything back.
async fn echo(ip: &str) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(bytes.get(..len).unwrap(), from).await;
        }
    });
    addr
}

/// Runs `program` on `script`, with the addresses as arguments, and gives what
/// it printed.
async fn run(program: &str, eval: &str, script: &str) -> String {
    let (proxy, v4, v6) = (proxy().await, echo("127.0.0.1").await, echo("::1").await);
    let ports = [proxy, v4, v6].map(|addr| addr.port().to_string());
    let mut command = Command::new(program);
    command.args([eval, script]).args(ports).kill_on_drop(true);
    let output = timeout(Duration::from_secs(60), command.output());
    let output = output.await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs python3 with PySocks"]
async fn pysocks_reaches_addresses_and_names() {
    let script = r#"
import socks, sys
proxy, v4, v6 = (int(port) for port in sys.argv[1:])
socket = socks.socksocket(type=socks.socket.SOCK_DGRAM)
socket.set_proxy(socks.SOCKS5, "127.0.0.1", proxy, username="joe", password="secret")
socket.settimeout(20)
for target, size in [("127.0.0.1", 0), ("127.0.0.1", 65497), ("echo.example", 5), ("::1", 1200)]:
    data = bytes(size)
    port = v6 if target == "::1" else v4
    socket.sendto(data, (target, port))
    answer, source = socket.recvfrom(65536)
    assert answer == data and source[1] == port, (len(answer), source)
    print(target, size, source[0])
"#;
    let python = env::var("SOCKS_TESTS_PYTHON").unwrap_or_else(|_| "python3".into());
    let printed = run(&python, "-c", script).await;
    let expected = "127.0.0.1 0 127.0.0.1\n127.0.0.1 65497 127.0.0.1\n\
        echo.example 5 127.0.0.1\n::1 1200 ::1\n";
    assert_eq!(printed, expected);
}

#[tokio::test]
#[ignore = "needs node with the package socks"]
async fn nodes_socks_reaches_addresses_and_names() {
    let script = r#"
const { SocksClient } = require("socks");
const [proxy, v4, v6] = process.argv.slice(1).map(Number);
const socket = require("dgram").createSocket("udp4");
const targets = [["127.0.0.1", 0], ["127.0.0.1", 9000], ["echo.example", 5], ["::1", 1200]];

async function main() {
  await new Promise((bound) => socket.bind(0, "127.0.0.1", bound));
  const client = new SocksClient({
    proxy: { host: "127.0.0.1", port: proxy, type: 5, userId: "joe", password: "secret" },
    command: "associate",
    // It declares an address that is not its own: what it does not know.
    destination: { host: "0.0.0.0", port: 0 },
  });
  const relay = await new Promise((established, failed) => {
    client.on("established", (info) => established(info.remoteHost));
    client.on("error", failed);
    client.connect();
  });
  for (const [host, size] of targets) {
    const port = host === "::1" ? v6 : v4;
    const data = Buffer.alloc(size, 7);
    const frame = SocksClient.createUDPFrame({ remoteHost: { host, port }, data });
    const answered = new Promise((come) => socket.once("message", come));
    socket.send(frame, relay.port, relay.host);
    const { remoteHost, data: answer } = SocksClient.parseUDPFrame(await answered);
    if (!answer.equals(data) || remoteHost.port !== port) throw new Error(remoteHost.host);
    console.log(host, size, remoteHost.host);
  }
  process.exit(0);
}
main().catch((error) => { console.error(error); process.exit(1); });
"#;
    let printed = run("node", "-e", script).await;
    let lines: Vec<_> = printed.lines().collect();
    let (v6, v4) = lines.split_last().unwrap();
    assert_eq!(
        v4,
        [
            "127.0.0.1 0 127.0.0.1",
            "127.0.0.1 9000 127.0.0.1",
            "echo.example 5 127.0.0.1"
        ]
    );
    // It writes the address out in full, in one way or another.
    assert!(v6.starts_with("::1 1200 ") && v6.ends_with('1'), "{v6}");
}
