mod client;
mod curl;
mod dante;
mod python;
mod refusals;
mod sessions;
mod udp;

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socks_tests::{
    PATIENCE,
    origin::{Origin, V4},
    program,
    proxy::Proxy,
};
use socks_tower::{Accepted, AuthMethod, AuthenticateLayer, GssApi, Match, Rules, Socks5};
use tokio::{
    net::{TcpStream, UdpSocket},
    process::Command,
    task::JoinHandle,
};
use tower::ServiceBuilder;

/// A file of the realm, by its name.
fn of_realm(name: &str) -> PathBuf {
    let realm = env::var_os("SOCKS_TESTS_REALM").expect("to be run by tests/gssapi/realm");
    PathBuf::from(realm).join(name)
}

/// The method for tickets of `socks`, as it comes.
fn strict() -> GssApi {
    GssApi::new("socks").unwrap()
}

/// Sends datagrams back to where they come from, until it is dropped.
struct UdpEcho {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

async fn udp_echo() -> UdpEcho {
    let socket = UdpSocket::bind((V4, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut datagram = vec![0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut datagram).await {
            let _ = socket.send_to(&datagram[..len], from).await;
        }
    });
    UdpEcho { addr, task }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A proxy whose rules let joe alone reach anything, and what there is to reach.
struct World {
    proxy: Proxy,
    came: Arc<AtomicUsize>,
    echo: Origin,
    udp_echo: UdpEcho,
}

impl World {
    /// Whose clients authenticate by `method`.
    async fn new(method: impl AuthMethod) -> Self {
        Self::with_timeout(method, PATIENCE).await
    }

    /// As well, in that time.
    async fn with_timeout(method: impl AuthMethod, timeout: Duration) -> Self {
        let joe = Match::any().identity("joe@SOCKS.TEST");
        let rules = Rules::new()
            .permit_all_special()
            .allow(joe)
            .deny_by_default();
        let socks = Socks5::new()
            .with_auth(AuthenticateLayer::new(method))
            .with_handshake_timeout(timeout)
            .with_rules(rules)
            .with_udp();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&came);
        let counting = move |accepted: Accepted<TcpStream>| {
            counted.fetch_add(1, Ordering::Relaxed);
            accepted
        };
        Self {
            proxy: Proxy::spawn(ServiceBuilder::new().map_request(counting).service(socks)).await,
            came,
            echo: Origin::echo(V4).await,
            udp_echo: udp_echo().await,
        }
    }

    /// How many clients have come.
    fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    /// Runs a script on `rfc1961.py` to its end.
    async fn python(&self, script: &str) {
        let ports = [self.proxy.addr(), self.echo.addr(), self.udp_echo.addr];
        let [proxy, echo, udp_echo] = ports.map(|addr| addr.port());
        let constants = format!("PROXY, ECHO, UDP_ECHO = {proxy}, {echo}, {udp_echo}");
        let ran = program::run_command(python(&format!("{constants}\n{script}")), "python3").await;
        assert!(ran.expect_success().is_empty(), "scripts print nothing");
    }
}

/// A Python that has python-gssapi: `.ci/run` makes it.
fn interpreter() -> String {
    env::var("SOCKS_TESTS_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Runs a script on `rfc1961.py`.
fn python(script: &str) -> Command {
    let mut command = Command::new(interpreter());
    command
        .args(["-c", &format!("from rfc1961 import *\n{script}")])
        .env("PYTHONPATH", env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
