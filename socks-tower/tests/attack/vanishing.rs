//! Peers, and servers, that are gone from one moment to the next.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    client::{connect, echo, patiently, request, reset, to_the_end, tunnel},
    process::Process,
};

/// How far a client comes: what it says, and what it has heard by then.
const MOMENTS: [(&[u8], &[u8]); 9] = [
    (b"", b""),
    (b"\x05", b""),
    (b"\x05\x02\x00", b""),
    (b"\x05\x01\x00", b"\x05\x00"),
    (b"\x05\x01\x00\x05\x01\x00\x01\x7f", b"\x05\x00"),
    (b"\x05\x01\x02\x01\x03jo", b"\x05\x02"),
    (b"\x05\x01\x02\x01\x03joe\x06secret", b"\x05\x02\x01\x00"),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01joe", b""),
    (b"\x04\x01\x00\x50\x00\x00\x00\x01joe\0exam", b""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_leaves_no_descriptor_though_no_deadline_is_near() {
    let proxy = Process::start("patient", 200).await;
    let (target, _echo) = echo().await;
    let held = tunnel(proxy.addr, target).await;
    let busy = proxy.descriptors();

    let mut clients = Vec::new();
    for (says, hears) in MOMENTS {
        for _ in 0..4 {
            let mut client = connect(proxy.addr).await;
            client.write_all(says).await.unwrap();
            let mut heard = vec![0; hears.len()];
            patiently("the answer", client.read_exact(&mut heard))
                .await
                .unwrap();
            assert_eq!(heard, hears);
            clients.push(client);
        }
    }
    for _ in 0..8 {
        clients.push(tunnel(proxy.addr, target).await);
    }
    for (number, client) in clients.into_iter().enumerate() {
        match number % 2 {
            0 => reset(client),
            _ => drop(client),
        }
    }
    proxy.settle(busy).await;
    drop(held);
    proxy.settle(busy - 2).await;
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_vanishes_takes_the_session_with_it() {
    let proxy = Process::start("patient", 200).await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let words = request(target.local_addr().unwrap());
    let mut at_rest = None;
    for resets in [false, true] {
        let mut client = connect(proxy.addr).await;
        client.write_all(&words).await.unwrap();
        let (far, _) = patiently("accept", target.accept()).await.unwrap();
        let mut reply = [0; 12];
        client.read_exact(&mut reply).await.unwrap();
        let at_rest = *at_rest.get_or_insert_with(|| proxy.descriptors() - 2);
        match resets {
            true => reset(far),
            false => drop(far),
        }
        assert_eq!(to_the_end(&mut client).await, b"");
        drop(client);
        proxy.settle(at_rest).await;
    }
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_dropped_closes_every_descriptor() {
    let mut proxy = Process::start("patient", 200).await;
    let (target, _echo) = echo().await;
    let mut clients = vec![tunnel(proxy.addr, target).await];
    // With two sockets of a tunnel, and the listener.
    let at_rest = proxy.descriptors() - 3;
    for _ in 0..50 {
        clients.push(tunnel(proxy.addr, target).await);
        let mut silent = connect(proxy.addr).await;
        silent.write_all(b"\x05\x02\x00").await.unwrap();
        clients.push(silent);
    }
    proxy.drop_server();
    for client in &mut clients {
        assert_eq!(to_the_end(client).await, b"");
    }
    proxy.settle(at_rest).await;
    proxy.finish();
}
