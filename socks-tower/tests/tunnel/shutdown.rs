//! How a server begins and ends.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use socks_tower::{Server, TcpAcceptor, TcpConnector};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::oneshot, time::Instant};
use tower::ServiceBuilder;

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{all_and_how, hears, patiently},
};

const HOUR: Duration = Duration::from_secs(3600);
const RESET: Option<io::ErrorKind> = Some(io::ErrorKind::ConnectionReset);

/// A proxy, and what tells it to end.
async fn until_told(grace: Duration) -> (Proxy, oneshot::Sender<()>) {
    let (tell, told) = oneshot::channel::<()>();
    let configure = |server: Server<TcpAcceptor>| {
        server
            .with_grace(grace)
            .with_shutdown(async { drop(told.await) })
    };
    let proxy = Proxy::by(socks(TcpConnector::new()), configure).await;
    (proxy, tell)
}

/// Waits until nobody listens there.
async fn is_refused(addr: SocketAddr) {
    let refused = async {
        loop {
            match TcpStream::connect(addr).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break,
                // Another was in the queue when it closed.
                Err(_) | Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    patiently("the listener's end", refused).await;
}

async fn served(proxy: Proxy) {
    let served = patiently("the server", proxy.task).await;
    served.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_ends_within_the_grace_period_is_not_cut() {
    let (proxy, tell) = until_told(HOUR).await;
    let (mut client, mut target) = proxy.tunnel(Speaks::V5).await;
    tell.send(()).unwrap();
    is_refused(proxy.addr).await;
    client.write_all(b"still here").await.unwrap();
    hears(&mut target, b"still here").await;
    target.write_all(b"so am I").await.unwrap();
    hears(&mut client, b"so am I").await;
    assert!(!proxy.task.is_finished());
    drop((client, target));
    served(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_negotiation_that_has_begun_may_end_within_the_grace_period() {
    let (proxy, tell) = until_told(HOUR).await;
    let listener = crate::streams::target().await;
    let mut client = proxy.client().await;
    client.write_all(b"\x05\x01\x00").await.unwrap();
    hears(&mut client, b"\x05\x00").await;
    tell.send(()).unwrap();
    is_refused(proxy.addr).await;
    let words = Speaks::V5.connect(listener.local_addr().unwrap());
    client.write_all(&words[3..]).await.unwrap();
    let target = crate::streams::accept(&listener).await;
    hears(&mut client, b"\x05\x00\x00\x01").await;
    drop((client, target));
    served(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_outlasts_the_grace_period_is_cut() {
    let grace = Duration::from_millis(500);
    let (proxy, tell) = until_told(grace).await;
    let mut tunnels = Vec::new();
    for speaks in Speaks::ALL {
        tunnels.push(proxy.tunnel(speaks).await);
    }
    let mut silent = proxy.client().await;
    silent.write_all(b"\x05\x01\x00").await.unwrap();
    hears(&mut silent, b"\x05\x00").await;
    let began = Instant::now();
    tell.send(()).unwrap();
    for (mut client, mut target) in tunnels {
        assert_eq!(all_and_how(&mut client).await, (vec![], RESET));
        assert_eq!(all_and_how(&mut target).await, (vec![], RESET));
    }
    all_and_how(&mut silent).await;
    served(proxy).await;
    assert!(began.elapsed() >= grace);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_is_free_at_once_though_tunnels_still_drain() {
    let (first, tell) = until_told(HOUR).await;
    let mut drains = first.tunnel(Speaks::V5).await;
    // This one's connection is left in TIME_WAIT, on the proxy's side.
    let (mut client, target) = first.tunnel(Speaks::V5).await;
    drop(target);
    all_and_how(&mut client).await;
    drop(client);
    tell.send(()).unwrap();
    is_refused(first.addr).await;

    let server = Server::bind(first.addr).await.unwrap();
    let second = Proxy {
        addr: first.addr,
        task: spawn(server.serve(socks(TcpConnector::new()))),
    };
    let (mut client, mut target) = second.tunnel(Speaks::V5).await;
    client.write_all(b"to the second").await.unwrap();
    hears(&mut target, b"to the second").await;

    drains.0.write_all(b"by the first").await.unwrap();
    hears(&mut drains.1, b"by the first").await;
}

fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio_util::task::AbortOnDropHandle<T> {
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(future))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_full_still_hears_that_it_shall_end() {
    let (tell, told) = oneshot::channel::<()>();
    let stack = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(socks(TcpConnector::new()));
    let configure = |server: Server<TcpAcceptor>| {
        server
            .with_grace(HOUR)
            .with_shutdown(async { drop(told.await) })
    };
    let proxy = Proxy::by(stack, configure).await;
    let first = proxy.tunnel(Speaks::V5).await;
    let mut queued = proxy.client().await;
    tell.send(()).unwrap();
    assert_eq!(all_and_how(&mut queued).await.0, b"");
    is_refused(proxy.addr).await;
    drop(first);
    served(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_port_fails_to_start() {
    let proxy = Proxy::new().await;
    let error = Server::bind(proxy.addr).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    proxy.tunnel(Speaks::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_dropped_cuts_all_sessions() {
    let (proxy, _tell) = until_told(HOUR).await;
    let (mut client, mut target) = proxy.tunnel(Speaks::V5).await;
    let mut silent = proxy.client().await;
    silent.write_all(b"\x05\x01\x00").await.unwrap();
    hears(&mut silent, b"\x05\x00").await;
    let addr = proxy.addr;
    drop(proxy);
    assert_eq!(all_and_how(&mut client).await, (vec![], RESET));
    assert_eq!(all_and_how(&mut target).await, (vec![], RESET));
    all_and_how(&mut silent).await;
    is_refused(addr).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_cut_does_so_within_the_grace_period_or_without_one() {
    for drains_first in [true, false] {
        let (tell, told) = oneshot::channel::<()>();
        let (cut, is_cut) = oneshot::channel::<()>();
        let configure = |server: Server<TcpAcceptor>| {
            server
                .with_grace(HOUR)
                .with_shutdown(async {
                    if told.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
                .with_cut(async { drop(is_cut.await) })
        };
        let proxy = Proxy::by(socks(TcpConnector::new()), configure).await;
        let (mut client, mut target) = proxy.tunnel(Speaks::V5).await;
        if drains_first {
            tell.send(()).unwrap();
            is_refused(proxy.addr).await;
        }
        cut.send(()).unwrap();
        assert_eq!(all_and_how(&mut client).await, (vec![], RESET));
        assert_eq!(all_and_how(&mut target).await, (vec![], RESET));
        served(proxy).await;
    }
}
