//! systemd's own programs: what it makes of the units, and the sockets that it passes.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

use std::{fs, path::Path, time::Duration};

use socks_tests::{
    child::path,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
    program::run_command,
};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::sleep,
};

const UNITS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/socks-proxy/systemd"
);

#[tokio::test]
#[ignore = "needs systemd-analyze"]
async fn systemd_understands_the_units_and_finds_them_hardened() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("units");
    fs::create_dir_all(&dir).unwrap();
    for name in ["socks-proxy.service", "socks-proxy.socket"] {
        // Where it is installed there is nothing here.
        let unit = fs::read_to_string(Path::new(UNITS).join(name)).unwrap();
        let unit = unit.replace("/usr/local/bin/socks-proxy", path().to_str().unwrap());
        fs::write(dir.join(name), unit).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.current_dir(&dir).args(["verify", "--man=no"]);
    verify.args(["./socks-proxy.service", "./socks-proxy.socket"]);
    let ran = run_command(verify, "systemd").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));

    let mut security = Command::new("systemd-analyze");
    // Of 100: what it thinks of as exposed to more than a little is above 20.
    security.args(["security", "--offline=true", "--threshold=20"]);
    security.arg(dir.join("socks-proxy.service"));
    let _ = run_command(security, "systemd").await.expect_success();
}

#[tokio::test]
#[ignore = "needs systemd-socket-activate"]
async fn a_socket_that_systemd_opened_is_served() {
    let origin = Origin::echo(V4).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let mut activate = Command::new("systemd-socket-activate");
    activate.args(["--fdname=socks", "--listen", &addr.to_string()]);
    activate.arg(path());
    activate.args(["--listen", "systemd:socks", "--allow-private"]);
    let spawned = activate.kill_on_drop(true).spawn();
    let _proxy = spawned.unwrap_or_else(|_| panic!("apt-get install systemd"));
    patiently("the socket", async {
        while TcpStream::connect(addr).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut tunnel = socks5(addr, None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"activated").await;
}
