//! Clients that never finish their negotiation.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    child::DEADLINE,
    client::{PATIENCE, connect, echo, to_the_end, tunnel},
    process::Process,
};

const SESSIONS: usize = 2000;

/// How far they come: what they say, and what they hear before they fall
/// silent.
const UNFINISHED: [(&[u8], &[u8]); 8] = [
    (b"", b""),
    (b"\x05", b""),
    (b"\x05\xff\x00\x01", b""),
    (b"\x05\x01\x02", b"\x05\x02"),
    (b"\x05\x01\x02\x01\x03jo", b"\x05\x02"),
    (b"\x05\x01\x00", b"\x05\x00"),
    (b"\x05\x01\x00\x05\x01\x00\x03\xffexample", b"\x05\x00"),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01joe", b""),
];

/// Says a byte a second of something that is never too long to be SOCKS.
async fn drip(mut client: TcpStream) {
    let words = [b"\x05\xff".as_slice(), &[0x80; 253]].concat();
    let mut ticks = interval(Duration::from_secs(1));
    for byte in words {
        ticks.tick().await;
        if client.write_all(&[byte]).await.is_err() {
            return;
        }
        // It is time to look whether the other side is still there.
        let mut space = [0];
        match timeout(Duration::from_millis(1), client.read(&mut space)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => panic!("an answer to half a greeting"),
            Err(_) => {}
        }
    }
    panic!("it may go on for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_negotiations_are_cut_by_the_deadline_and_others_are_served_meanwhile() {
    let proxy = Process::start("dials", SESSIONS).await;
    let sessions = proxy.room();
    let addr = proxy.addr;
    let (target, _echo) = echo().await;
    let held = tunnel(addr, target).await;
    let at_rest = proxy.descriptors() - 2;
    drop(held);
    proxy.settle(at_rest).await;

    let mut unfinished = JoinSet::new();
    for number in 0..sessions {
        let began = Instant::now();
        let mut client = connect(addr).await;
        if number % 40 == 39 {
            unfinished.spawn(async move {
                timeout(PATIENCE, drip(client)).await.unwrap();
                began.elapsed()
            });
            continue;
        }
        let (says, hears) = UNFINISHED[number % UNFINISHED.len()];
        client.write_all(says).await.unwrap();
        unfinished.spawn(async move {
            assert_eq!(to_the_end(&mut client).await, hears);
            began.elapsed()
        });
    }

    let (mut served, mut slowest, mut most) = (0, Duration::ZERO, 0);
    while unfinished.try_join_next().is_none() {
        let began = Instant::now();
        drop(tunnel(addr, target).await);
        slowest = slowest.max(began.elapsed());
        most = most.max(proxy.descriptors());
        served += 1;
    }
    println!("{served} served meanwhile, the slowest in {slowest:?}; {most} descriptors");
    // Nobody waited for the unfinished ones to be cut.
    assert!(slowest < DEADLINE, "{slowest:?}");
    assert!(most >= sessions, "only {most} descriptors at a time");

    let lasted = unfinished.join_all().await;
    let (shortest, longest) = (lasted.iter().min(), lasted.iter().max());
    println!("cut after {shortest:?} to {longest:?}");
    assert!(*shortest.unwrap() >= DEADLINE, "{shortest:?}");
    proxy.settle(at_rest).await;
    drop(tunnel(addr, target).await);
    proxy.finish();
}
