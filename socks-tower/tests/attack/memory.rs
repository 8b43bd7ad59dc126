//! What sessions cost whose clients send without end.

use std::{net::SocketAddr, time::Duration};

use socks_tower::Inbound;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    client::{connect, request, reset},
    process::Process,
};

const SESSIONS: usize = 1000;
const MAX_EARLY: usize = Inbound::<TcpStream>::MAX_EARLY;
const CHUNK: usize = 1024;

/// Sends until nobody takes any more; says how much that was.
async fn flood(addr: SocketAddr, first: &[u8]) -> (TcpStream, usize) {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel shall not hide what the proxy does.
    socket.set_send_buffer_size(4096).unwrap();
    let mut client = socket.connect(addr).await.unwrap();
    client.write_all(first).await.unwrap();
    let mut taken = 0;
    let pause = Duration::from_millis(500);
    while let Ok(written) = timeout(pause, client.write_all(&[7; CHUNK])).await {
        written.unwrap();
        taken += CHUNK;
        assert!(taken < 4 << 20, "it takes everything");
    }
    (client, taken)
}

/// How much goes to a listener that never reads: what the kernel keeps.
async fn kernel() -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(16).unwrap();
    let (_client, taken) = flood(listener.local_addr().unwrap(), b"").await;
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_bytes_are_bounded_for_each_of_a_thousand_sessions() {
    let proxy = Process::start("endless", SESSIONS).await;
    let sessions = proxy.room();
    let kernel = kernel().await;
    let words = request("127.0.0.1:1".parse().unwrap());
    let first = flood(proxy.addr, &words).await;
    let at_rest = proxy.descriptors() - 1;
    let before = proxy.memory();

    let mut floods = JoinSet::new();
    for _ in 1..sessions {
        let (addr, words) = (proxy.addr, words.clone());
        floods.spawn(async move { flood(addr, &words).await });
    }
    let mut flooded = floods.join_all().await;
    flooded.push(first);
    let each = proxy.memory().saturating_sub(before) / sessions;
    let taken = flooded.iter().map(|&(_, taken)| taken);
    let (least, most) = (taken.clone().min().unwrap(), taken.max().unwrap());
    println!("kernel {kernel}, taken {least} to {most}; {each} bytes of memory for each session");
    assert!(least >= MAX_EARLY, "{least}");
    assert!(most <= kernel + 2 * MAX_EARLY, "{most}");
    assert!(each <= 3 * MAX_EARLY, "{each}");

    for (client, _) in flooded {
        reset(client);
    }
    proxy.settle(at_rest).await;
    drop(connect(proxy.addr).await);
    proxy.finish();
}
