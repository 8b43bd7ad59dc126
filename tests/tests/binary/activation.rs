//! Sockets that a service manager opens, and passes on.

use std::{net::TcpListener, time::Duration};

use socks_tests::{
    child::{Child, run_passing},
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::time::interval;

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

async fn start(socket: &TcpListener, args: &[&str]) -> Child {
    let args = [&["--listen", "systemd", "--allow-private"], args].concat();
    Child::start_passing(socket.try_clone().unwrap(), "socks", &args).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_no_connect() {
    const PER_SECOND: u64 = 200;
    const RESTARTS: usize = 3;

    for runtime in ["per-thread", "shared"] {
        let origin = Origin::echo(V4).await;
        let socket = socket();
        let (proxy, target) = (socket.local_addr().unwrap(), origin.addr());
        let mut child = start(&socket, &["--runtime", runtime]).await;

        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let load = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(1000 / PER_SECOND));
            let mut connections = Vec::new();
            while stopped.try_recv().is_err() {
                ticks.tick().await;
                connections.push(tokio::spawn(async move {
                    let mut tunnel = socks5(proxy, None, target).await.unwrap();
                    assert_echoes(&mut tunnel, b"there").await;
                }));
            }
            connections
        });
        for _ in 0..RESTARTS {
            tokio::time::sleep(Duration::from_millis(500)).await;
            child.terminate();
            let (ended, log) = child.wait().await;
            assert!(ended.success(), "{log}");
            child = start(&socket, &["--runtime", runtime]).await;
        }
        stop.send(()).unwrap();
        let connections = load.await.unwrap();
        assert!(connections.len() > 100, "{}", connections.len());
        for connection in connections {
            patiently("a connection", connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_socket_is_asked_for_by_its_name() {
    let listen = |name| ["--listen", name, "--allow-private"];
    let origin = Origin::echo(V4).await;
    let passed = socket();
    let addr = passed.local_addr().unwrap();
    let child = Child::start_passing(passed, "socks", &listen("systemd:socks")).await;
    assert_eq!(child.addrs(), [addr]);
    let mut tunnel = socks5(addr, None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"by name").await;

    let (code, said) = run_passing(socket(), "other", &listen("systemd:socks")).await;
    assert_eq!(code, Some(1));
    let expected = "--listen: systemd:socks: the service manager has passed no such socket";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn a_socket_for_all_to_reach_needs_users_too() {
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let (code, said) = run_passing(everywhere, "socks", &["--listen", "systemd"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("not a loopback address"), "{said}");
}
