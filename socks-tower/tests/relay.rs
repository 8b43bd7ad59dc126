//! The relay between real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socks_tower::{
    Command, Connected, Direction, End, Grant, Inbound, Outbound, Policy, Relay, Request, Session,
    Stream, Target, Throttle, Transfer, Version,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tower_service::Service;

/// Two ends of a connection. The first receives into a small buffer.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(socket.connect(address), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

/// A client and a target with a tunnel between them.
async fn tunnel() -> (TcpStream, TcpStream, JoinHandle<Transfer>) {
    let ((client, near), (target, far)) = tokio::join!(pair(), pair());
    (client, target, run(near, far))
}

fn run<Io: Stream, Up: Stream>(client: Io, upstream: Up) -> JoinHandle<Transfer> {
    run_as(Relay::new(), Session::default(), client, upstream)
}

fn run_as<Io: Stream, Up: Stream>(
    mut relay: Relay,
    session: Session,
    client: Io,
    upstream: Up,
) -> JoinHandle<Transfer> {
    let future = relay.call(Connected::new(
        Inbound::new(client, Vec::new(), Version::Socks5),
        Outbound::new(upstream),
        Request::new(session, Command::CONNECT, Target::UNSPECIFIED),
    ));
    tokio::spawn(async { future.await.unwrap() })
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Writes until nobody takes any more.
async fn clog(stream: &mut TcpStream) {
    let bytes = noise(0, 1 << 20);
    let patience = Duration::from_millis(100);
    while let Ok(written) = timeout(patience, stream.write_all(&bytes)).await {
        written.unwrap();
    }
}

async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut found = Vec::new();
    let result = stream.read_to_end(&mut found).await;
    (found, result.err().map(|error| error.kind()))
}

/// Bytes that are nobody else's, and differ everywhere.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A TCP stream that nobody recognises as one.
struct Opaque(TcpStream);

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Sends `out` and the end, receives `expected` and the end.
async fn exchange(stream: TcpStream, out: Vec<u8>, expected: Vec<u8>) {
    let (mut receiver, mut sender) = stream.into_split();
    let sent = tokio::spawn(async move {
        sender.write_all(&out).await.unwrap();
        sender.shutdown().await.unwrap();
        sender
    });
    let mut found = Vec::new();
    receiver.read_to_end(&mut found).await.unwrap();
    sent.await.unwrap();
    assert!(found == expected, "{} bytes differ", found.len());
}

async fn exchange_both_ways(
    client: TcpStream,
    target: TcpStream,
    tunnel: JoinHandle<Transfer>,
    len: usize,
) {
    let (up, down) = (noise(1, len), noise(2, len / 2));
    tokio::join!(
        exchange(client, up.clone(), down.clone()),
        exchange(target, down.clone(), up.clone()),
    );
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.down), (len as u64, len as u64 / 2));
    assert_eq!(transfer.end, End::Closed);
}

#[tokio::test]
async fn much_passes_both_ways_at_once() {
    let (client, target, tunnel) = tunnel().await;
    exchange_both_ways(client, target, tunnel, 32 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_passes_both_ways_at_once_through_streams_that_are_not_plain() {
    let ((client, near), (target, far)) = tokio::join!(pair(), pair());
    let tunnel = run(Opaque(near), Opaque(far));
    exchange_both_ways(client, target, tunnel, 32 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tunnels_do_not_mix() {
    let mut tunnels = JoinSet::new();
    for seed in 0..40_u64 {
        tunnels.spawn(async move {
            let (client, target, tunnel) = tunnel().await;
            let (up, down) = (noise(seed, 1 << 20), noise(!seed, 1 << 20));
            tokio::join!(
                exchange(client, up.clone(), down.clone()),
                exchange(target, down, up),
            );
            assert_eq!(tunnel.await.unwrap().end, End::Closed);
        });
    }
    tunnels.join_all().await;
}

/// Sends `mark` for ever, and takes what comes back: nobody else's.
async fn chatter(mut stream: TcpStream, mark: u8) {
    let chunk = vec![mark; 100_000];
    let (mut receiver, mut sender) = stream.split();
    let send = async { while sender.write_all(&chunk).await.is_ok() {} };
    let receive = async {
        let mut space = vec![0; 10_000];
        while let Ok(len @ 1..) = receiver.read(&mut space).await {
            let stray = space[..len].iter().find(|&&byte| byte != !mark);
            assert_eq!(stray, None, "in the session of {mark}");
            // Slower than the sender, so that there is always something under way.
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_a_session_that_is_cut_reaches_another() {
    let mut sessions = JoinSet::new();
    for mark in 0..=250 {
        let (client, target, tunnel) = tunnel().await;
        sessions.spawn(chatter(client, mark));
        sessions.spawn(chatter(target, !mark));
        let lifetime = Duration::from_millis(u64::from(mark) * 37 % 50);
        sessions.spawn(async move {
            tokio::time::sleep(lifetime).await;
            tunnel.abort();
        });
        while sessions.len() > 3 * 16 {
            sessions.join_next().await.unwrap().unwrap();
        }
    }
    sessions.join_all().await;
}

#[tokio::test]
async fn where_there_are_no_more_pipes_bytes_are_copied() {
    // Each of these holds on to bytes in both directions.
    let mut stuck = Vec::new();
    let bytes = noise(0, 8 << 20);
    for _ in 0..100 {
        let (mut client, mut target, tunnel) = tunnel().await;
        let patience = Duration::from_millis(10);
        let up = timeout(patience, client.write_all(&bytes));
        let down = timeout(patience, target.write_all(&bytes));
        let _ = tokio::join!(up, down);
        stuck.push((client, target, tunnel));
    }
    let (client, target, tunnel) = tunnel().await;
    exchange_both_ways(client, target, tunnel, 8 << 20).await;
}

/// Sends `ab!cd`, the third byte as urgent data, before anybody can read of it.
#[cfg(target_os = "linux")]
fn send_with_an_urgent_byte(stream: &TcpStream) {
    assert_eq!(stream.try_write(b"ab").unwrap(), 2);
    let urgent = socket2::SockRef::from(stream).send_out_of_band(b"!");
    assert_eq!(urgent.unwrap(), 1);
    assert_eq!(stream.try_write(b"cd").unwrap(), 2);
}

/// A read stops short of the urgent mark, and nobody is told of what is behind it: it
/// is looked for.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_urgent_byte_arrives_in_its_place_and_holds_nothing_up() {
    let ((mut client, near), (mut target, far)) = tokio::join!(pair(), pair());
    // As our listeners hand it down.
    let inline = socket2::SockRef::from(&near).set_out_of_band_inline(true);
    inline.unwrap();
    let _tunnel = run(near, far);
    for round in 0..2_u8 {
        for _ in 0..2 {
            let (from, to) = (&client, &mut target);
            from.writable().await.unwrap();
            send_with_an_urgent_byte(from);
            let mut found = [0; 5];
            let received = timeout(Duration::from_secs(10), to.read_exact(&mut found));
            received.await.unwrap().unwrap();
            assert_eq!(&found, b"ab!cd", "round {round}");
            // Then the other way.
            std::mem::swap(&mut client, &mut target);
        }
    }
}

/// A splice stops short of urgent data, and goes on saying that there is nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn urgent_data_does_not_stop_a_flow() {
    let (mut client, mut target, _tunnel) = tunnel().await;
    let bytes = noise(8, 4 << 20);
    let receive = async {
        let mut found = vec![0; bytes.len()];
        client.read_exact(&mut found).await.unwrap();
        assert!(found == bytes);
        client.write_all(b"x").await.unwrap();
        let mut found = [0; 9];
        client.read_exact(&mut found).await.unwrap();
        assert_eq!(&found, b"ab!cdmore");
    };
    let send = async {
        target.write_all(&bytes).await.unwrap();
        target.writable().await.unwrap();
        send_with_an_urgent_byte(&target);
        target.read_exact(&mut [0]).await.unwrap();
        target.write_all(b"more").await.unwrap();
    };
    let both = async { tokio::join!(receive, send) };
    timeout(Duration::from_secs(10), both).await.unwrap();
}

#[tokio::test]
async fn a_reset_is_a_reset_on_the_other_side_after_what_came_before() {
    for client_breaks in [true, false] {
        let (client, target, tunnel) = tunnel().await;
        let (mut breaks, mut survives) = match client_breaks {
            true => (client, target),
            false => (target, client),
        };
        breaks.write_all(b"last words").await.unwrap();
        let mut found = [0; 10];
        survives.read_exact(&mut found).await.unwrap();
        assert_eq!(&found, b"last words");
        reset(breaks);
        let (rest, error) = read_all(&mut survives).await;
        assert_eq!(rest, b"");
        assert_eq!(error, Some(io::ErrorKind::ConnectionReset));

        let transfer = tunnel.await.unwrap();
        let (end, bytes) = match client_breaks {
            true => (End::ClientReset, (10, 0)),
            false => (End::UpstreamReset, (0, 10)),
        };
        assert_eq!((transfer.end, (transfer.up, transfer.down)), (end, bytes));
    }
}

/// Waits until the peer of `stream` has read all that was written to it.
#[cfg(target_os = "linux")]
async fn all_is_read(stream: &TcpStream) {
    let hex = |port: u16| format!("0100007F:{port:04X}");
    let (from, to) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let is_empty = |from: &str, to: &str, queue: fn(&str) -> bool| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields[1] == from && fields[2] == to && queue(fields[4])
        })
    };
    let (from, to) = (hex(from.port()), hex(to.port()));
    while !(is_empty(&from, &to, |queues| queues.starts_with("00000000:"))
        && is_empty(&to, &from, |queues| queues.ends_with(":00000000")))
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reset_does_not_overtake_what_waits_in_the_kernel() {
    let (mut client, mut target, tunnel) = tunnel().await;
    let words = noise(3, 60_000);
    target.write_all(&words).await.unwrap();
    all_is_read(&target).await;
    reset(target);
    // The client has room for 4 KiB, so the rest is still with us.
    let (found, error) = read_all(&mut client).await;
    assert!(found == words, "{} bytes", found.len());
    assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.down, transfer.end), (60_000, End::UpstreamReset));
}

#[tokio::test]
async fn a_reset_waits_a_second_and_no_longer_for_a_side_that_does_not_read() {
    let (mut client, mut target, tunnel) = tunnel().await;
    clog(&mut target).await; // The client does not read.
    client.write_all(b"x").await.unwrap();
    target.read_exact(&mut [0]).await.unwrap();
    reset(target);
    // The relay learns of it when it writes.
    client.write_all(b"y").await.unwrap();
    let transfer = timeout(Duration::from_secs(5), tunnel)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(transfer.end, End::UpstreamReset);
    let (_, error) = read_all(&mut client).await;
    assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_reset_ends_a_tunnel_that_is_stuck_the_other_way() {
    let (mut client, target, tunnel) = tunnel().await;
    clog(&mut client).await; // The target does not read.
    reset(target);
    assert_eq!(tunnel.await.unwrap().end, End::UpstreamReset);
    let (_, error) = read_all(&mut client).await;
    assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_reset_after_the_end_is_found_by_writing() {
    let (mut client, mut target, tunnel) = tunnel().await;
    client.write_all(b"request").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut target).await, (b"request".to_vec(), None));
    reset(client);
    while target.write_all(b"answer").await.is_ok() {}
    assert_eq!(tunnel.await.unwrap().end, End::ClientReset);
}

#[tokio::test]
async fn an_answer_arrives_from_a_target_that_takes_no_more() {
    let (mut client, mut target, tunnel) = tunnel().await;
    client.write_all(b"the first part").await.unwrap();
    target.read_exact(&mut [0; 14]).await.unwrap();
    let answer = noise(6, 50_000);
    target.write_all(&answer).await.unwrap();
    drop(target);
    // The target's kernel answers what comes now with a reset.
    for _ in 0..2 {
        client.write_all(b"more").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (found, error) = read_all(&mut client).await;
    assert!(found == answer, "{} bytes", found.len());
    assert_eq!(error, None);
    assert_eq!(tunnel.await.unwrap().end, End::UpstreamReset);
    while client.write_all(b"and more").await.is_ok() {}
}

/// Grants so many bytes, and no more ever.
#[derive(Debug)]
struct UsedUp(AtomicU64);

impl Throttle for UsedUp {
    fn take(&self, _: Direction, want: u64) -> Grant {
        match self.0.load(Ordering::Relaxed).min(want) {
            0 => Grant::Exhausted,
            granted => {
                self.0.fetch_sub(granted, Ordering::Relaxed);
                Grant::Bytes(granted)
            }
        }
    }

    fn give_back(&self, _: Direction, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A tunnel amid a download, and what its two ends hear when it is over.
async fn amid_a_download(
    relay: Relay,
    policy: Policy,
    cut: bool,
) -> [(usize, Option<io::ErrorKind>); 2] {
    let ((mut client, near), (mut target, far)) = tokio::join!(pair(), pair());
    let mut session = Session::default();
    session.policy = policy;
    let tunnel = run_as(relay, session, near, far);
    target.write_all(b"half of a download").await.unwrap();
    let mut found = [0; 18];
    client.read_exact(&mut found).await.unwrap();
    if cut {
        tunnel.abort();
    } else {
        target.write_all(b" is here").await.unwrap();
    }
    let (client, target) = (read_all(&mut client).await, read_all(&mut target).await);
    [client, target].map(|(found, error)| (found.len(), error))
}

#[tokio::test]
async fn half_a_download_does_not_look_like_the_whole() {
    let reset = Some(io::ErrorKind::ConnectionReset);
    let short_lived = Relay::new().with_lifetime(Duration::from_millis(200));
    let mut quota = Policy::new();
    quota.add_throttle(Arc::new(UsedUp(AtomicU64::new(21))));

    let ended = amid_a_download(Relay::new(), Policy::new(), true).await;
    assert_eq!(ended, [(0, reset); 2], "cut");
    let ended = amid_a_download(Relay::new(), quota, false).await;
    assert_eq!(ended, [(3, reset), (0, reset)], "quota");
    let ended = amid_a_download(short_lived, Policy::new(), false).await;
    assert_eq!(ended, [(8, reset), (0, reset)], "lifetime");
}

#[tokio::test]
async fn an_idle_tunnel_ends_in_order_unless_a_side_still_owes_bytes() {
    let relay = Relay::new().with_idle_timeout(Duration::from_secs(1));
    let ended = amid_a_download(relay.clone(), Policy::new(), false).await;
    assert_eq!(ended, [(8, None), (0, None)]);

    let ((mut client, near), (mut target, far)) = tokio::join!(pair(), pair());
    let tunnel = run_as(relay, Session::default(), near, far);
    clog(&mut target).await; // The client does not read.
    assert_eq!(tunnel.await.unwrap().end, End::IdleTimeout);
    for end in [&mut client, &mut target] {
        let (_, error) = read_all(end).await;
        assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn a_tunnel_that_is_cut_lets_go_of_both_sides() {
    let (mut client, mut target, tunnel) = tunnel().await;
    clog(&mut client).await;
    tunnel.abort();
    assert!(tunnel.await.unwrap_err().is_cancelled());
    for end in [&mut client, &mut target] {
        let (_, error) = read_all(end).await;
        assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
    }
}
