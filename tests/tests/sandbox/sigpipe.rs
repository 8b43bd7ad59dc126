//! In a program that SIGPIPE ends: one that is not Rust's own to start.

use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    sandbox,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn bulk_to_clients_that_hang_up_ends_no_program_that_sigpipe_ends() {
    let origin = Origin::echo(V4).await;
    let args = ["--allow-private"];
    let child = Child::start_preloading(sandbox::with_sigpipe(), &args).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    assert_eq!(ignored & 1 << 12, 0, "SIGPIPE would end it");

    for _ in 0..8 {
        let tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        let (mut read, mut write) = tunnel.into_split();
        let sending = tokio::spawn(async move {
            let bytes = vec![7; 1 << 20];
            while write.write_all(&bytes).await.is_ok() {}
        });
        let mut some = vec![0; 1 << 20];
        read.read_exact(&mut some).await.unwrap();
        sending.abort();
        drop(read);
        let _ = sending.await;
    }
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"still there").await;
    child.wait_for_log("SIGPIPE would end this program").await;
}
