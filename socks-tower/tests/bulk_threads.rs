//! Tunnels that carry bulk, on threads of their own.

#![cfg(unix)]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test")]

use std::{
    collections::HashSet,
    io::{ErrorKind, Read as _},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use socks_tower::{
    Accepted, Direction, End, Meter, Relay, Rules, ServeError, Socks5, ThreadedServer, Transfer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tower::ServiceBuilder;

const LONG: Duration = Duration::from_secs(20);
const MIB: usize = 1024 * 1024;

/// Notes which threads carry bytes, and how many that were. Panics where it is told to.
#[derive(Default)]
struct Seen {
    threads: Mutex<HashSet<String>>,
    bytes: AtomicU64,
    panics_at: AtomicU64,
}

impl Meter for Seen {
    fn record(&self, _: Direction, bytes: u64) {
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().unwrap().insert(name);
        let panics_at = self.panics_at.load(Ordering::Relaxed);
        assert!(panics_at == 0 || all < panics_at, "as it was told to");
    }
}

impl Seen {
    fn bulk_threads(&self) -> usize {
        let names = self.threads.lock().unwrap();
        names
            .iter()
            .filter(|it| it.starts_with("socks-bulk"))
            .count()
    }
}

struct Running {
    addr: SocketAddr,
    seen: Arc<Seen>,
    ends: mpsc::UnboundedReceiver<Transfer>,
    cut: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

fn run(relay: Relay, change: impl FnOnce(ThreadedServer) -> ThreadedServer) -> Running {
    let seen = Arc::new(Seen::default());
    let (told, ends) = mpsc::unbounded_channel();
    let meter = seen.clone();
    let stack = Socks5::new()
        .with_rules(Rules::new().permit_all_special())
        .with_relay(relay);
    let stack = ServiceBuilder::new()
        .map_request(move |mut accepted: Accepted<TcpStream>| {
            accepted.session.policy.add_meter(meter.clone());
            accepted
        })
        .map_response(move |transfer: Transfer| {
            let _ = told.send(transfer.clone());
            transfer
        })
        .service(stack);
    let two = NonZeroUsize::new(2).unwrap();
    let server = ThreadedServer::bind(&["127.0.0.1:0".parse().unwrap()], two).unwrap();
    let addr = server.local_addrs()[0];
    let (cut, when_cut) = oneshot::channel::<()>();
    let server = change(server).with_cut(async { drop(when_cut.await) });
    let serving = tokio::spawn(server.serve(stack));
    Running {
        addr,
        seen,
        ends,
        cut,
        serving,
    }
}

/// Both ends of a tunnel through the proxy at `proxy`.
async fn tunnel(proxy: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_be_bytes();
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let hello = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port[0], port[1]];
    client.write_all(&hello).await.unwrap();
    let mut heard = [0; 12];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard[3], 0);
    (client, listener.accept().await.unwrap().0)
}

/// Words that come again after 128 KiB, less a little.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let word = |n: usize| u16::try_from(n % 65_521).unwrap().to_be_bytes();
    (0..8 * MIB).flat_map(word).collect()
});

/// Sends `len` bytes from one to the other, which has to get them as they are.
async fn send(from: &mut TcpStream, to: &mut TcpStream, len: usize) {
    let sent = &NOISE[..len];
    let mut heard = vec![0; len];
    let (written, read) = tokio::join!(from.write_all(sent), to.read_exact(&mut heard));
    written.unwrap();
    read.unwrap();
    assert!(sent == heard, "other bytes than were sent");
}

#[tokio::test]
async fn bulk_moves_and_nothing_of_it_is_lost() {
    let mut server = run(Relay::new(), |it| it);
    let (mut client, mut target) = tunnel(server.addr).await;
    send(&mut client, &mut target, 100).await;
    send(&mut target, &mut client, 100).await;
    assert_eq!(server.seen.bulk_threads(), 0, "a few bytes are no bulk");

    for _ in 0..4 {
        send(&mut client, &mut target, 8 * MIB).await;
        send(&mut target, &mut client, 8 * MIB).await;
    }
    assert_eq!(server.seen.bulk_threads(), 1, "{:?}", server.seen.threads);

    // Ends pass one by one as before.
    client.shutdown().await.unwrap();
    assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    send(&mut target, &mut client, 3).await;
    drop(target);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    let transfer = timeout(LONG, server.ends.recv()).await.unwrap().unwrap();
    assert_eq!(transfer.end, End::Closed);
    let carried = [transfer.up, transfer.down].map(|it| usize::try_from(it).unwrap());
    assert_eq!(carried, [100 + 32 * MIB, 103 + 32 * MIB]);
    let metered = server.seen.bytes.load(Ordering::Relaxed);
    assert_eq!(metered, transfer.up + transfer.down);
}

#[tokio::test]
async fn tunnels_are_dealt_out_among_the_threads() {
    let server = run(Relay::new(), |it| it);
    let mut tunnels = Vec::new();
    for _ in 0..4 {
        let (mut client, mut target) = tunnel(server.addr).await;
        send(&mut client, &mut target, 16 * MIB).await;
        tunnels.push((client, target));
    }
    assert_eq!(server.seen.bulk_threads(), 2, "{:?}", server.seen.threads);
}

#[tokio::test]
async fn with_no_such_threads_a_tunnel_stays() {
    let server = run(Relay::new(), |it| it.with_bulk_threads(0));
    let (mut client, mut target) = tunnel(server.addr).await;
    send(&mut client, &mut target, 16 * MIB).await;
    assert_eq!(server.seen.bulk_threads(), 0, "{:?}", server.seen.threads);
}

/// Has the tunnel move, and leaves it with bytes on their way.
async fn moved(server: &Running) -> (TcpStream, TcpStream) {
    let (mut client, mut target) = tunnel(server.addr).await;
    while server.seen.bulk_threads() == 0 {
        send(&mut target, &mut client, 8 * MIB).await;
    }
    (client, target)
}

/// How nice the threads of this process are whose names begin so, by their `stat`.
#[cfg(target_os = "linux")]
fn niceness_of(name: &str) -> HashSet<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread of another test may be gone by now.
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let niceness = |stat: String| {
        let (before, after) = stat.rsplit_once(") ").unwrap();
        let is_named = before.split_once('(').unwrap().1.starts_with(name);
        is_named.then(|| after.split(' ').nth(16).unwrap().parse().unwrap())
    };
    stats.filter_map(niceness).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn threads_for_bulk_are_nicer_by_what_is_set_and_others_are_not() {
    let own = rustix::process::getpriority_process(None).unwrap();
    // In no other test.
    let server = run(Relay::new(), |it| it.with_bulk_niceness(3));
    let _tunnel = moved(&server).await;
    assert!(niceness_of("socks-bulk-").contains(&(own + 3)));
    assert_eq!(niceness_of("socks-0"), HashSet::from([own]));
}

async fn assert_reset(mut stream: TcpStream) {
    let heard = timeout(LONG, stream.read(&mut [0; 16])).await.unwrap();
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn one_that_is_cut_is_reset_before_the_server_is_gone() {
    let server = run(Relay::new(), |it| it);
    let (client, target) = moved(&server).await;

    server.cut.send(()).unwrap();

    let served = timeout(LONG, server.serving).await.unwrap();
    served.unwrap().unwrap();
    for stream in [client, target] {
        // Nobody has to wait for it.
        let heard = stream.into_std().unwrap().read(&mut [0; 16]);
        assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn dropping_the_server_cuts_it() {
    let server = run(Relay::new(), |it| it);
    let (client, target) = moved(&server).await;
    server.serving.abort();
    assert_reset(client).await;
    assert_reset(target).await;
}

#[tokio::test]
async fn its_timeouts_go_on() {
    let relay = Relay::new().with_idle_timeout(Duration::from_secs(2));
    let mut server = run(relay, |it| it);
    let (mut client, mut target) = moved(&server).await;
    let transfer = timeout(LONG, server.ends.recv()).await.unwrap().unwrap();
    assert_eq!(transfer.end, End::IdleTimeout);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_panic_there_ends_the_session_and_no_other() {
    let server = run(Relay::new(), |it| it);
    let (client, mut target) = moved(&server).await;
    let (mut other, mut other_target) = moved(&server).await;
    server.seen.panics_at.store(1, Ordering::Relaxed);
    target.write_all(b"now").await.unwrap();
    let mut client = client;
    client.read_exact(&mut [0; 3]).await.unwrap();
    assert_reset(client).await;
    server.seen.panics_at.store(0, Ordering::Relaxed);
    send(&mut other, &mut other_target, 8 * MIB).await;
    let (mut client, mut target) = moved(&server).await;
    send(&mut client, &mut target, MIB).await;
}
