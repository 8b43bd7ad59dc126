//! A runtime and listeners for each thread: the lifecycle of such a server.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{HashMap, HashSet},
    io::{self, ErrorKind},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
    time::Duration,
};

use socket2::SockRef;
use socks_tower::{
    Accepted, BoxError, Keepalive, Request, ServeError, Server, Socks5, TcpAcceptor,
    ThreadedServer, Transfer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, service_fn};

const LONG: Duration = Duration::from_secs(20);

fn any_port() -> ThreadedServer {
    let two = NonZeroUsize::new(2).unwrap();
    ThreadedServer::bind(&["127.0.0.1:0".parse().unwrap()], two).unwrap()
}

/// A target that says `hello`, then listens.
async fn target() -> DuplexStream {
    let (near, mut far) = duplex(64);
    tokio::spawn(async move {
        let _ = far.write_all(b"hello").await;
        let _ = far.read_to_end(&mut Vec::new()).await;
    });
    near
}

/// A running server, and what stops it.
struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
    /// How many connections each had.
    threads: Arc<Mutex<HashMap<ThreadId, usize>>>,
}

fn run(grace: Duration) -> Running {
    let threads = Arc::new(Mutex::new(HashMap::new()));
    let seen = Arc::clone(&threads);
    let connector = service_fn(move |_: Request<_>| {
        *seen
            .lock()
            .unwrap()
            .entry(thread::current().id())
            .or_default() += 1;
        async { Ok::<_, BoxError>(target().await) }
    });
    let proxy = ServiceBuilder::new()
        .concurrency_limit(1000)
        .service(Socks5::new().with_connector(connector));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = any_port();
    let addr = server.local_addrs()[0];
    let server = server
        .with_shutdown(async { drop(stopped.await) })
        .with_grace(grace);
    let serving = tokio::spawn(server.serve(proxy));
    Running {
        addr,
        stop,
        serving,
        threads,
    }
}

async fn tunnel(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(addr).await?;
    client
        .write_all(b"\x05\x01\x00\x05\x01\x00\x01\x08\x08\x08\x08\x00\x50")
        .await?;
    let mut heard = [0; 17];
    client.read_exact(&mut heard).await?;
    assert!(heard.ends_with(b"hello"));
    Ok(client)
}

#[tokio::test]
async fn connections_are_dealt_out_among_the_threads() {
    let server = run(Duration::ZERO);
    let mut tunnels = Vec::new();

    for number in 1..=64 {
        tunnels.push(tunnel(server.addr).await.unwrap());
        let threads: Vec<_> = server.threads.lock().unwrap().values().copied().collect();
        match threads[..] {
            [one] => assert!(number == 1 || !cfg!(target_os = "linux"), "all {one}"),
            [one, other] => assert!(one.abs_diff(other) <= 1 + number / 4, "{one}, {other}"),
            _ => panic!("{threads:?}"),
        }
    }
}

#[tokio::test]
async fn a_second_server_on_the_port_does_not_start() {
    let server = run(Duration::ZERO);
    tunnel(server.addr).await.unwrap();

    let again = ThreadedServer::bind(&[server.addr], NonZeroUsize::new(2).unwrap());
    let by_name = Server::bind(server.addr.to_string()).await;
    for error in [
        again.unwrap_err(),
        TcpAcceptor::listen(server.addr).unwrap_err(),
        by_name.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let expected = format!("cannot listen on {}: ", server.addr);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_of_all_threads_are_kept_alive_as_told() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let stack = service_fn(move |accepted: Accepted<TcpStream>| {
        let silence = SockRef::from(&accepted.io).tcp_keepalive_time();
        told.send((thread::current().id(), silence.unwrap()))
            .unwrap();
        async { Err::<Transfer, BoxError>("seen".into()) }
    });
    let server = any_port().with_keepalive(Keepalive::After(LONG));
    let addr = server.local_addrs()[0];
    tokio::spawn(server.serve(stack));
    let mut threads = HashSet::new();
    for _ in 0..64 {
        TcpStream::connect(addr).await.unwrap();
        let (thread, silence) = heard.recv().await.unwrap();
        assert_eq!(silence, LONG);
        threads.insert(thread);
    }
    assert_eq!(threads.len(), 2);
}

#[tokio::test]
async fn a_shutdown_lets_sessions_end_and_then_the_port_is_free() {
    let server = run(LONG);
    let client = tunnel(server.addr).await.unwrap();

    server.stop.send(()).unwrap();
    let refused = async {
        while TcpStream::connect(server.addr).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, refused).await.unwrap();
    assert!(!server.serving.is_finished(), "it waits for the session");
    drop(client);

    timeout(LONG, server.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    drop(TcpAcceptor::listen(server.addr).unwrap());
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    let server = run(Duration::from_millis(50));
    let mut client = tunnel(server.addr).await.unwrap();

    server.stop.send(()).unwrap();

    timeout(LONG, server.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    // An end or a reset; but it ends.
    let _ = timeout(LONG, client.read(&mut [0])).await.unwrap();
}

#[tokio::test]
async fn dropping_the_future_cuts_the_sessions() {
    let server = run(LONG);
    let mut client = tunnel(server.addr).await.unwrap();

    server.serving.abort();

    let _ = timeout(LONG, client.read(&mut [0])).await.unwrap();
}
