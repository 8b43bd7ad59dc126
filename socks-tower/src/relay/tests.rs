use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socks_core::{Target, server::Version, v5::Command};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf,
        duplex,
    },
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, advance, timeout},
};
use tower_service::Service;

use super::*;
use crate::{Client, ClientStream, Connected, Outbound, Request, Session, Stream};

const SECOND: Duration = Duration::from_secs(1);

fn connected<Io: Stream, Up: Stream>(client: Io, upstream: Up) -> Connected<Io, Up> {
    let session = Session::default();
    Connected {
        client: Client::new(client, Vec::new(), &Version::V5),
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
    assert!(size <= 336, "{size}");
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

#[tokio::test(start_paused = true)]
async fn silence_ends_a_tunnel_and_every_byte_puts_the_end_off() {
    let relay = Relay::new().with_idle_timeout(60 * SECOND);
    let (mut client, mut target, tunnel) = join(&relay);
    let started = Instant::now();
    for _ in 0..5 {
        advance(50 * SECOND).await;
        client.write_all(b"up").await.unwrap();
        expect(&mut target, b"up").await;
        advance(50 * SECOND).await;
        target.write_all(b"down").await.unwrap();
        expect(&mut client, b"down").await;
    }
    let transfer = tunnel.await.unwrap();
    assert_eq!(transfer.end, End::IdleTimeout);
    assert_eq!(started.elapsed().as_secs(), 560);
    assert_eq!(transfer.duration.as_secs(), 560);
    expect_end(&mut client).await;
    expect_end(&mut target).await;
}

#[tokio::test(start_paused = true)]
async fn two_hours_and_four_minutes_are_the_default() {
    let (_client, _target, tunnel) = join(&Relay::new());
    let transfer = tunnel.await.unwrap();
    assert_eq!(transfer.end, End::IdleTimeout);
    assert_eq!(transfer.duration.as_secs(), 2 * 3600 + 4 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_tunnel_ends_sooner() {
    for client_first in [true, false] {
        let relay = Relay::new().with_half_closed_timeout(60 * SECOND);
        let (client, target, tunnel) = join(&relay);
        let (mut first, mut second) = match client_first {
            true => (client, target),
            false => (target, client),
        };
        advance(1000 * SECOND).await; // Far more, but nobody is done.
        let done = Instant::now();
        first.shutdown().await.unwrap();
        expect_end(&mut second).await;
        advance(50 * SECOND).await;
        second.write_all(b"more").await.unwrap();
        expect(&mut first, b"more").await;
        assert_eq!(tunnel.await.unwrap().end, End::HalfClosedTimeout);
        assert_eq!(done.elapsed().as_secs(), 110);
        expect_end(&mut first).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_ends_a_tunnel_that_is_busy() {
    let relay = Relay::new()
        .with_lifetime(60 * SECOND)
        .with_idle_timeout(None)
        .with_half_closed_timeout(None);
    let (mut client, mut target, tunnel) = join(&relay);
    while client.write_all(b"x").await.is_ok() {
        if target.read(&mut [0]).await.unwrap() == 0 {
            break;
        }
        advance(SECOND).await;
    }
    let transfer = tunnel.await.unwrap();
    assert_eq!(transfer.end, End::LifetimeExceeded);
    assert_eq!(transfer.duration.as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn without_timeouts_a_tunnel_stands_for_ever() {
    let relay = Relay::new()
        .with_idle_timeout(None)
        .with_half_closed_timeout(None);
    let (mut client, mut target, tunnel) = join(&relay);
    client.shutdown().await.unwrap();
    expect_end(&mut target).await;
    assert!(timeout(1_000_000 * SECOND, tunnel).await.is_err());
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
    assert!(futures_pending(future.as_mut()));
    assert!(!released.load(Ordering::Relaxed));

    drop((client, target));
    future.as_mut().await.unwrap();
    // Done, though not dropped yet.
    assert!(released.load(Ordering::Relaxed));
}

fn futures_pending(future: Pin<&mut impl Future>) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    future.poll(&mut cx).is_pending()
}

/// Always has bytes to give; takes so many, then no more.
#[derive(Default)]
struct Endless {
    given: Arc<AtomicU64>,
    takes: u64,
    taken: Arc<AtomicU64>,
}

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = buf.initialize_unfilled().len();
        buf.advance(len);
        self.given.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = self.takes - self.taken.load(Ordering::Relaxed);
        let len = buf.len().min(usize::try_from(room).unwrap());
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        match len {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(len)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
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
        assert!(futures_pending(future.as_mut()));
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
    assert!(futures_pending(future.as_mut()));
    for count in counts {
        assert_eq!(count.load(Ordering::Relaxed), 1024 * 1024);
    }
}

/// Notes what happens to a stream, and fails when it is read to its end.
struct Noted {
    note: Arc<Mutex<Vec<&'static str>>>,
    reads: Vec<&'static [u8]>,
    error: Option<io::ErrorKind>,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (self.reads.pop(), self.error) {
            (Some(bytes), _) => buf.put_slice(bytes),
            (None, Some(error)) => return Poll::Ready(Err(error.into())),
            (None, None) => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note.lock().unwrap().push("written");
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note.lock().unwrap().push("flushed");
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note.lock().unwrap().push("shut down");
        Poll::Ready(Ok(()))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.note.lock().unwrap().push("dropped");
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
