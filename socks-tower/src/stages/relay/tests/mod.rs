mod doubles;
mod policy;
mod tap;
mod timers;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Duration,
};

use socks_core::{Target, server::Version, v5::Command};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, duplex},
    net::TcpStream,
    task::JoinHandle,
};
use tower_service::Service;

use self::doubles::{Endless, Noted};
use super::*;
use crate::session::{
    ClientStream, Connected, End, Inbound, Outbound, Request, Session, Stream, Transfer,
};

const SECOND: Duration = Duration::from_secs(1);

fn connected<Io: Stream, Up: Stream>(client: Io, upstream: Up) -> Connected<Io, Up> {
    let session = Session::default();
    Connected {
        client: Inbound::new(client, Vec::new(), Version::Socks5),
        upstream: Outbound::new(upstream),
        request: Request::new(session, Command::CONNECT, Target::UNSPECIFIED),
    }
}

/// A running tunnel between what the two peers hold.
fn join(relay: &Relay) -> (DuplexStream, DuplexStream, JoinHandle<Transfer>) {
    let (client, near) = duplex(64 * 1024);
    let (far, target) = duplex(64 * 1024);
    (client, target, run(relay, connected(near, far)))
}

fn run<Io: Stream, Up: Stream>(
    relay: &Relay,
    connected: Connected<Io, Up>,
) -> JoinHandle<Transfer> {
    let future = relay.clone().call(connected);
    tokio::spawn(async { future.await.unwrap() })
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    stream.read_exact(&mut found).await.unwrap();
    assert_eq!(found, bytes);
}

async fn expect_end(stream: &mut (impl AsyncRead + Unpin)) {
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn an_idle_tunnel_is_small() {
    // This and the two sockets' registrations are all that a tunnel is.
    let size = size_of::<RelayFuture<ClientStream<TcpStream>, TcpStream>>();
    assert!(size <= 320, "{size}");
}

#[tokio::test]
async fn a_client_may_be_done_before_its_target() {
    let (mut client, mut target, tunnel) = join(&Relay::new());
    client.write_all(b"GET").await.unwrap();
    client.shutdown().await.unwrap();
    expect(&mut target, b"GET").await;
    expect_end(&mut target).await;

    for _ in 0..3 {
        target.write_all(b"answer").await.unwrap();
        expect(&mut client, b"answer").await;
    }
    drop(target);
    expect_end(&mut client).await;
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.down), (3, 18));
    assert_eq!(transfer.end, End::Closed);
}

#[tokio::test]
async fn a_target_may_speak_first_and_be_done_before_its_client() {
    let (mut client, mut target, tunnel) = join(&Relay::new());
    target.write_all(b"220 ready").await.unwrap();
    target.shutdown().await.unwrap();
    expect(&mut client, b"220 ready").await;
    expect_end(&mut client).await;

    for _ in 0..3 {
        client.write_all(b"DATA").await.unwrap();
        expect(&mut target, b"DATA").await;
    }
    drop(client);
    expect_end(&mut target).await;
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.down), (12, 9));
    assert_eq!(transfer.end, End::Closed);
}

#[tokio::test]
async fn what_came_early_goes_first_and_so_does_the_end_that_followed() {
    let (mut client, near) = duplex(64);
    let (far, mut target) = duplex(3); // Takes the early bytes in pieces.
    let mut connected = connected(near, far);
    connected.client.early = b"early bytes".to_vec();
    connected.client.eof = true;
    let tunnel = run(&Relay::new(), connected);

    expect(&mut target, b"early bytes").await;
    expect_end(&mut target).await;
    target.write_all(b"late answer").await.unwrap();
    drop(target);
    expect(&mut client, b"late answer").await;
    expect_end(&mut client).await;
    assert_eq!(tunnel.await.unwrap().up, 11);
}

#[tokio::test]
async fn bytes_pass_one_at_a_time() {
    let (mut client, near) = duplex(1);
    let (far, mut target) = duplex(1);
    let tunnel = run(&Relay::new(), connected(near, far));
    let text: Vec<u8> = (0..=255).collect();
    let sent = text.clone();
    let sender = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client
    });
    expect(&mut target, &text).await;
    drop(sender.await.unwrap());
    drop(target);
    assert_eq!(tunnel.await.unwrap().up, 256);
}

#[tokio::test]
async fn a_stream_that_buffers_what_it_is_written_is_flushed() {
    let (mut client, near) = duplex(64);
    let (far, mut target) = duplex(64);
    let _tunnel = run(&Relay::new(), connected(near, BufStream::new(far)));
    client.write_all(b"ping").await.unwrap();
    expect(&mut target, b"ping").await;
}

#[tokio::test]
async fn the_guard_outlives_the_streams() {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let released = Arc::new(AtomicBool::new(false));
    let (client, near) = duplex(64);
    let (far, target) = duplex(64);
    let mut connected = connected(near, far);
    connected.upstream = connected.upstream.with_guard(Guard(Arc::clone(&released)));
    let mut future = Box::pin(Relay::new().call(connected));
    assert!(is_pending(future.as_mut()));
    assert!(!released.load(Ordering::Relaxed));

    drop((client, target));
    future.as_mut().await.unwrap();
    // Done, though not dropped yet.
    assert!(released.load(Ordering::Relaxed));
}

fn is_pending(future: Pin<&mut impl Future>) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    future.poll(&mut cx).is_pending()
}

#[tokio::test]
async fn a_slow_reader_holds_its_sender_back() {
    let source = Endless::default();
    let given = Arc::clone(&source.given);
    let destination = Endless {
        takes: 100_000,
        ..Endless::default()
    };
    let mut future = Box::pin(Relay::new().call(connected(source, destination)));
    for _ in 0..100 {
        assert!(is_pending(future.as_mut()));
    }
    assert_eq!(given.load(Ordering::Relaxed), 128 * 1024);
}

#[tokio::test]
async fn two_endless_streams_take_turns() {
    let endless = || Endless {
        takes: u64::MAX,
        ..Endless::default()
    };
    let (a, b) = (endless(), endless());
    let counts = [Arc::clone(&a.taken), Arc::clone(&b.taken)];
    let mut future = Box::pin(Relay::new().call(connected(a, b)));
    assert!(is_pending(future.as_mut()));
    for count in counts {
        assert_eq!(count.load(Ordering::Relaxed), 1024 * 1024);
    }
}

#[tokio::test]
async fn where_a_reset_cannot_be_said_the_stream_is_dropped_without_an_end() {
    let note = Arc::new(Mutex::new(Vec::new()));
    let survivor = Noted {
        note: Arc::clone(&note),
        reads: Vec::new(),
        error: None,
    };
    let broken = Noted {
        note: Arc::default(),
        reads: vec![b"last words"],
        error: Some(io::ErrorKind::ConnectionReset),
    };
    let transfer = Relay::new()
        .call(connected(broken, survivor))
        .await
        .unwrap();
    assert_eq!(transfer.end, End::ClientReset);
    assert_eq!(transfer.up, 10);
    assert_eq!(*note.lock().unwrap(), ["written", "flushed", "dropped"]);
}
