//! What a service manager hears, and when the proxy takes no more clients.

use std::{fs, path::PathBuf, time::Duration};

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    net::{TcpStream, UnixDatagram},
    time::{Instant, sleep},
};

/// The end at which a service manager listens.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        // The name of a Unix socket is short.
        let path = std::env::temp_dir().join(format!("notify-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { path, socket }
    }

    async fn hears(&self) -> String {
        let mut message = [0; 512];
        let len = patiently("a message", self.socket.recv(&mut message)).await;
        String::from_utf8(message.get(..len.unwrap()).unwrap().to_vec()).unwrap()
    }

    /// Waits for a message that begins with `state`, past the watchdog's.
    async fn hears_of(&self, state: &str) {
        loop {
            let message = self.hears().await;
            if message.starts_with(state) {
                return;
            }
            assert_eq!(message, "WATCHDOG=1\n");
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn a_service_manager_hears_of_all_that_happens() {
    for runtime in ["per-thread", "shared"] {
        let manager = Manager::new();
        let variables = [
            ("NOTIFY_SOCKET", manager.path.to_str().unwrap()),
            ("WATCHDOG_USEC", "400000"),
        ];
        let child = Child::start_with_env(&variables, &["--runtime", runtime]).await;
        manager.hears_of("READY=1\n").await;
        for _ in 0..5 {
            manager.hears_of("WATCHDOG=1\n").await;
        }
        child.signal(Signal::HUP);
        manager.hears_of("RELOADING=1\nMONOTONIC_USEC=").await;
        manager.hears_of("READY=1\n").await;
        child.terminate();
        manager.hears_of("STOPPING=1\n").await;
        assert!(child.wait().await.0.success());
    }
}

#[tokio::test]
async fn clients_are_taken_until_a_load_balancer_has_seen_that_it_ends() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--unready-time", "2"]).await;
    let told = Instant::now();
    child.terminate();
    sleep(Duration::from_millis(300)).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"still there").await;
    drop(tunnel);
    while TcpStream::connect(child.addr()).await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
    assert!(told.elapsed() >= Duration::from_secs(2));
    assert!(child.wait().await.0.success());
}
