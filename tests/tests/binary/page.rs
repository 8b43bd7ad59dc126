//! The connections of `--admin`.

use std::time::Duration;

use socks_tests::{child::Child, client::read_to_the_end, origin::V4, patiently};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::interval,
};

async fn health(admin: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    patiently("the page", read_to_the_end(&mut stream)).await
}

#[tokio::test]
async fn who_says_nothing_or_little_keeps_nobody_out_and_is_left() {
    let free = TcpListener::bind((V4, 0)).await.unwrap();
    let admin = free.local_addr().unwrap().to_string();
    drop(free);
    let _child = Child::start(&["--admin", &admin]).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(TcpStream::connect(&admin).await.unwrap());
    }
    let answer = health(&admin).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");

    // A byte a second, without end.
    let mut slow = TcpStream::connect(&admin).await.unwrap();
    let dribbling = async {
        slow.write_all(b"GET /healthz HTTP/1.1\r\nX: ")
            .await
            .unwrap();
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            let mut byte = [0];
            tokio::select! {
                _ = seconds.tick() => drop(slow.write_all(b"x").await),
                read = slow.read(&mut byte) => if !matches!(read, Ok(1..)) { break },
            }
        }
    };
    patiently("the end of a slow one", dribbling).await;
    for mut stream in silent {
        patiently("the end of a silent one", read_to_the_end(&mut stream)).await;
    }
    let answer = health(&admin).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");
}
