//! PySocks, which is what most of Python uses.

use std::{env, process::Stdio};

use socks_tests::{
    child::Child,
    content::Content,
    origin::{ClosedPort, Origin, V4},
    program::{self, Ran},
};
use tokio::process::Command;

use crate::{open, strict, with_password};

const FILE: Content = Content::mib(4);

/// Fetches `http://HOST:PORT/` through a proxy; writes the body, or
/// fails with the error's text.
const FETCH: &str = r#"
import http.client, sys
import socks
kind, proxy, port, rdns, name, password, host, target = sys.argv[1:]
sock = socks.socksocket()
sock.settimeout(30)
sock.set_proxy(
    {"4": socks.SOCKS4, "5": socks.SOCKS5}[kind], proxy, int(port),
    rdns == "remote", name or None, password or None)
try:
    sock.connect((host, int(target)))
except socks.ProxyError as error:
    sys.exit(f"{type(error).__name__}: {error}")
connection = http.client.HTTPConnection(host)
connection.sock = sock
connection.request("GET", "/")
sys.stdout.buffer.write(connection.getresponse().read())
"#;

/// How to ask: version, where names are looked up, name and password.
struct Ask<'a>(&'a str, &'a str, &'a str, &'a str);

impl Ask<'_> {
    async fn fetch(&self, child: &Child, host: &str, port: u16) -> Ran {
        let Self(kind, rdns, name, password) = self;
        // One that has PySocks: .ci/run makes an environment for it.
        let python = env::var("SOCKS_TESTS_PYTHON").unwrap_or_else(|_| "python3".into());
        let (ip, proxy_port) = (
            child.addr().ip().to_string(),
            child.addr().port().to_string(),
        );
        let mut command = Command::new(python);
        command
            .args(["-c", FETCH, kind, &ip, &proxy_port, rdns, name, password])
            .args([host, &port.to_string()])
            .stdin(Stdio::null());
        let ran = program::run_command(command, "python3").await;
        assert!(
            !ran.stderr.contains("ModuleNotFoundError"),
            "PySocks is not installed: apt-get install python3-socks, or pip install PySocks"
        );
        ran
    }

    async fn assert_fetches(&self, child: &Child, host: &str, port: u16) {
        let body = self.fetch(child, host, port).await.expect_success();
        FILE.assert_is(&body);
    }
}

#[tokio::test]
#[ignore = "needs python3 with PySocks"]
async fn each_version_fetches_the_file() {
    let origin = Origin::http(V4, FILE).await;
    let proxy = open().await;
    for ask in [
        Ask("4", "local", "", ""),
        Ask("4", "remote", "", ""),
        Ask("4", "remote", "joe", ""),
        Ask("5", "local", "", ""),
        Ask("5", "remote", "", ""),
        Ask("5", "remote", "joe", "any"),
    ] {
        for host in ["127.0.0.1", "localhost"] {
            ask.assert_fetches(&proxy, host, origin.port()).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs python3 with PySocks"]
async fn a_login_lets_in_and_a_wrong_one_does_not() {
    let origin = Origin::http(V4, FILE).await;
    let (host, port) = ("localhost", origin.port());
    let proxy = with_password().await;
    Ask("5", "remote", "joe", "s3cret@!")
        .assert_fetches(&proxy, host, port)
        .await;
    let wrong = Ask("5", "remote", "joe", "guess")
        .fetch(&proxy, host, port)
        .await;
    wrong.expect_failure(1, "SOCKS5 authentication failed");
    let none = Ask("5", "remote", "", "").fetch(&proxy, host, port).await;
    none.expect_failure(1, "All offered SOCKS5 authentication methods were rejected");
    let claim = Ask("4", "remote", "joe", "")
        .fetch(&proxy, host, port)
        .await;
    claim.expect_failure(1, "0x5b: Request rejected or failed");
}

#[tokio::test]
#[ignore = "needs python3 with PySocks"]
async fn the_reply_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let port = closed.addr().port();
    let (open, strict) = (open().await, strict().await);
    let ask = Ask("5", "remote", "", "");
    let refused = ask.fetch(&open, "127.0.0.1", port).await;
    refused.expect_failure(1, "0x05: Connection refused");
    let unknown = ask.fetch(&open, "no-such-name.invalid", 80).await;
    unknown.expect_failure(1, "0x04: Host unreachable");
    let denied = ask.fetch(&strict, "localhost", port).await;
    denied.expect_failure(1, "0x02: Connection not allowed by ruleset");
    for proxy in [&open, &strict] {
        let rejected = Ask("4", "remote", "", "")
            .fetch(proxy, "localhost", port)
            .await;
        rejected.expect_failure(1, "0x5b: Request rejected or failed");
    }
}
