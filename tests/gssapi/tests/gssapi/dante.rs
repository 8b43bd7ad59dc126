//! dante, built with GSS-API by `tests/gssapi/dante`.

use std::{env, fs, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use socks_tests::{
    client::assert_echoes,
    content::Content,
    origin::{Origin, V4},
    patiently,
    program::{self, Ran},
};
use socks_tower::{GssApi, GssApiClient, Socks5Connector, works::upstream::direct};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

use super::{
    World,
    client::{LEVELS, connect},
    interpreter, of_realm, udp_echo,
};

/// A program of its folder.
fn dante(name: &str) -> PathBuf {
    let dir = env::var_os("SOCKS_TESTS_DANTE").expect("the folder given to tests/gssapi/dante");
    PathBuf::from(dir).join(name)
}

/// Runs a Python script under `socksify`: all its sockets lead through `proxy`.
async fn socksified(proxy: SocketAddr, level: &str, script: &str) -> Ran {
    let config = of_realm(&format!("socksify-{}-{level}.conf", proxy.port()));
    let text = format!(
        "route {{\n from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = {}\n \
         proxyprotocol: socks_v5\n method: gssapi\n gssapi.enctype: {level}\n}}\n",
        proxy.port()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(dante("bin/socksify"));
    command
        .args([&interpreter(), "-c", script])
        .env("SOCKS_CONF", config)
        // Debian's patches have the script look for a name that only its packages make.
        .env("SOCKS_LIBRARY", "libdsocks.so")
        // Loopback would be reached without the proxy.
        .env("SOCKS_AUTOADD_LANROUTES", "no");
    program::run_command(command, "none, but run tests/gssapi/dante").await
}

#[tokio::test]
async fn its_client_transfers_at_each_level() {
    // Its client asks for a ticket for `rcmd`.
    let world = World::new(GssApi::new("rcmd").unwrap()).await;
    for level in ["integrity", "confidentiality"] {
        let script = format!(
            r#"
import os, socket
sock = socket.create_connection(("127.0.0.1", {}))
for _ in range(20):
    text = os.urandom(50_000)
    sock.sendall(text)
    heard = b""
    while len(heard) < len(text):
        more = sock.recv(65_536)
        assert more, len(heard)
        heard += more
    assert heard == text
"#,
            world.echo.port()
        );
        let ran = socksified(world.proxy.addr(), level, &script).await;
        assert_eq!(ran.code, Some(0), "{level}: {ran}");
    }
    assert_eq!(world.came(), 2, "went by another way");
}

#[tokio::test]
async fn its_client_sends_datagrams_at_each_level() {
    let world = World::new(GssApi::new("rcmd").unwrap()).await;
    for level in ["integrity", "confidentiality"] {
        let script = format!(
            r#"
import os, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(30)
sock.connect(("127.0.0.1", {}))
for length in (1, 1200, 9000):
    text = os.urandom(length)
    sock.send(text)
    assert sock.recv(65536) == text
"#,
            world.udp_echo.addr.port()
        );
        let ran = socksified(world.proxy.addr(), level, &script).await;
        assert_eq!(ran.code, Some(0), "{level}: {ran}");
    }
    assert_eq!(world.came(), 2, "went by another way");
}

/// Its server, which takes tickets for `rcmd`.
struct Sockd {
    addr: SocketAddr,
    _process: Child,
}

impl Sockd {
    async fn start() -> Self {
        // Free a moment ago; dante cannot be told to take any.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let keys = of_realm("proxy.keytab");
        let gssapi = format!(
            "gssapi.servicename: rcmd\n gssapi.keytab: FILE:{}",
            keys.display()
        );
        let rule = format!("pass {{\n from: 127.0.0.0/8 to: 0.0.0.0/0\n {gssapi}\n}}\n");
        let config = of_realm(&format!("sockd-{}.conf", addr.port()));
        let text = format!(
            "internal: 127.0.0.1 port = {}\nexternal: 127.0.0.1\nclientmethod: none\n\
             socksmethod: gssapi\nclient {rule}socks {rule}",
            addr.port()
        );
        fs::write(&config, text).unwrap();
        let process = Command::new(dante("sbin/sockd"))
            .arg("-f")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listens = async {
            while TcpStream::connect(addr).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        patiently("the start of sockd", listens).await;
        Self {
            addr,
            _process: process,
        }
    }
}

#[tokio::test]
async fn its_server_serves_our_client_at_each_level() {
    let (sockd, echo, datagrams) = (
        Sockd::start().await,
        Origin::echo(V4).await,
        udp_echo().await,
    );
    for level in LEVELS {
        let method = || {
            GssApiClient::new("rcmd@localhost")
                .unwrap()
                .with_protection(level)
        };
        let mut stream = connect(sockd.addr, method(), echo.addr()).await.unwrap();
        for len in [1, 1000, 60_000] {
            let text = Content::new(len).bytes();
            patiently("the echo", assert_echoes(&mut stream, &text)).await;
        }
        let connector = Socks5Connector::new(sockd.addr.into(), direct()).with_method(method());
        let socket = connector.associate().await.unwrap();
        let text = Content::new(1200).bytes();
        socket.send_to(&text, &datagrams.addr.into()).await.unwrap();
        let mut answer = vec![0; 65_536];
        let received = patiently("an answer", socket.recv_from(&mut answer)).await;
        let (len, from) = received.unwrap();
        assert_eq!((&answer[..len], from), (&text[..], datagrams.addr.into()));
    }
}
