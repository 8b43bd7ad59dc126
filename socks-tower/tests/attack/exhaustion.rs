//! More clients than descriptors.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{
    child::LIMIT,
    client::{ask, connect, echo, patiently, request, tunnel},
    process::Process,
};

const DESCRIPTORS: usize = 256;
const CLIENTS: usize = 400;
/// With the targets of those who are served.
const ROOM: usize = 700;

/// Checks that it waits, and does not spin.
async fn is_calm(proxy: &Process) {
    let before = proxy.cpu();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = proxy.cpu() - before;
    println!("CPU time in a second of exhaustion: {used:?}");
    assert!(used < Duration::from_millis(300), "{used:?}");
}

async fn crowd(proxy: &Process) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(proxy.addr).await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_a_limit_outlives_the_want_of_descriptors() {
    outlives_the_want_of_descriptors("patient").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_several_threads_without_a_limit_outlives_the_want_of_descriptors() {
    outlives_the_want_of_descriptors("threaded").await;
}

async fn outlives_the_want_of_descriptors(stack: &str) {
    let proxy = Process::start_with(stack, ROOM, Some(DESCRIPTORS)).await;
    let (target, _echo) = echo().await;
    let mut held = tunnel(proxy.addr, target).await;
    let mut crowd = crowd(&proxy).await;
    patiently("exhaustion", async {
        while proxy.descriptors() < DESCRIPTORS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    is_calm(&proxy).await;

    // Who was accepted hears that there is nothing to dial with.
    crowd[0].write_all(&request(target)).await.unwrap();
    let mut reply = [0; 12];
    patiently("the refusal", crowd[0].read_exact(&mut reply))
        .await
        .unwrap();
    assert_eq!(reply, *b"\x05\x00\x05\x01\x00\x01\0\0\0\0\0\0");

    // A tunnel that stands works on.
    held.write_all(b"still").await.unwrap();
    let mut found = [0; 5];
    patiently("the echo", held.read_exact(&mut found))
        .await
        .unwrap();
    assert_eq!(&found, b"still");

    drop(crowd);
    for _ in 0..20 {
        drop(tunnel(proxy.addr, target).await);
    }
    drop(held);
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_a_limit_answers_everybody_at_the_edge_of_exhaustion() {
    let proxy = Process::start_with("patient", ROOM, Some(DESCRIPTORS)).await;
    let (target, _echo) = echo().await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let addr = proxy.addr;
        clients.spawn(async move {
            let (client, code) = ask(addr, target).await;
            // All of them at once, as long as the proxy can.
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(client);
            code
        });
    }
    let codes = clients.join_all().await;
    let served = codes.iter().filter(|&&code| code == 0).count();
    println!("{served} of {CLIENTS} served, the others refused");
    assert!(codes.iter().all(|&code| code == 0 || code == 1));
    assert!(served > 0);
    drop(tunnel(proxy.addr, target).await);
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_a_limit_serves_everybody_in_turn() {
    let proxy = Process::start_with("limited", ROOM, Some(DESCRIPTORS)).await;
    let (target, _echo) = echo().await;
    let mut first = Vec::new();
    for _ in 0..LIMIT {
        first.push(tunnel(proxy.addr, target).await);
    }
    let mut crowd = crowd(&proxy).await;
    for client in &mut crowd {
        client.write_all(&request(target)).await.unwrap();
    }
    is_calm(&proxy).await;
    assert!(proxy.descriptors() < DESCRIPTORS);
    let early = timeout(Duration::from_millis(100), crowd[0].read_u8()).await;
    early.expect_err("served beyond the limit");

    drop(first);
    let mut served = JoinSet::new();
    for mut client in crowd {
        served.spawn(async move {
            let mut reply = [0; 12];
            patiently("the reply", client.read_exact(&mut reply))
                .await
                .unwrap();
            assert_eq!(reply[..4], *b"\x05\x00\x05\x00");
        });
    }
    served.join_all().await;
    proxy.finish();
}
