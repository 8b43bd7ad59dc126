//! Signals that end nothing.

use std::time::Duration;

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::socks5,
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

/// A signal cuts a splice short, which is no proof that the socket is full: if it
/// is taken for one, nothing announces the room any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_stopped_and_continued_all_the_time_loses_no_tunnel() {
    const BYTES: u64 = 512 << 20;
    let origin = Origin::serve(V4, |mut stream| async move {
        let chunk = vec![7; 1 << 20];
        for _ in 0..BYTES >> 20 {
            stream.write_all(&chunk).await.unwrap();
        }
    })
    .await;
    let child = Child::start(&["--allow-private"]).await;
    let mut downloads = Vec::new();
    for _ in 0..6 {
        let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        downloads.push(tokio::spawn(async move {
            let mut space = vec![0; 1 << 20];
            let mut received = 0;
            while let len @ 1.. = tunnel.read(&mut space).await.unwrap() {
                received += len as u64;
            }
            received
        }));
    }
    for _ in 0..3000 {
        if downloads.iter().all(|download| download.is_finished()) {
            break;
        }
        child.signal(Signal::STOP);
        sleep(Duration::from_micros(500)).await;
        child.signal(Signal::CONT);
        sleep(Duration::from_micros(500)).await;
    }
    for download in downloads {
        assert_eq!(patiently("a download", download).await.unwrap(), BYTES);
    }
}
