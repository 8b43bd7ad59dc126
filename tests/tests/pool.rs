//! A pool of real proxies under load: one is killed, one hangs, one is slow.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::process::Signal;
use socks_tests::{
    PATIENCE,
    child::Child,
    client::assert_echoes,
    origin::{Origin, V4},
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, Command, ConnectLayer, HandshakeLayer, HttpConnectLayer, NoAuth,
    Proxy as Stack, ProxyConnector, Relay, Request, Resolve, Session, Socks4Connector,
    Socks5Connector, SystemResolver, Target, TcpConnector, UpstreamPool, Versions,
    works::{pool::Breaker, upstream::direct},
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

type Pool = UpstreamPool<Socks5Connector<Resolve<SystemResolver, TcpConnector>>>;

/// How long an upstream may take: far longer than the slow one does, or a busy machine.
const OF_A_TRY: Duration = Duration::from_secs(3);
const SLOW: Duration = Duration::from_millis(250);

/// What became of the requests of some workers.
#[derive(Debug, Default)]
struct Served {
    served: usize,
    lost: usize,
    longest: Duration,
}

/// Eight clients, one request after the other, until `enough`.
async fn load(pool: &Pool, target: SocketAddr, enough: impl Fn(&Pool) -> bool) -> Served {
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(work(pool.clone(), target, stop.clone())))
        .collect();
    let began = Instant::now();
    while !enough(pool) {
        assert!(began.elapsed() < PATIENCE, "{:?}", pool.upstreams());
        sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Relaxed);
    let mut all = Served::default();
    for worker in workers {
        let Served {
            served,
            lost,
            longest,
        } = worker.await.unwrap();
        all.served += served;
        all.lost += lost;
        all.longest = all.longest.max(longest);
    }
    all
}

async fn work(pool: Pool, target: SocketAddr, stop: Arc<AtomicBool>) -> Served {
    let mut all = Served::default();
    while !stop.load(Relaxed) {
        let began = Instant::now();
        let request = Request::new(Session::new(), Command::CONNECT, Target::from(target));
        match pool.clone().oneshot(request).await {
            Ok(mut tunnel) => {
                assert_echoes(&mut tunnel.io, b"through one of four").await;
                all.served += 1;
            }
            Err(_) => all.lost += 1,
        }
        all.longest = all.longest.max(began.elapsed());
    }
    all
}

/// A proxy that takes its time, while it is told to.
fn slow(is_slow: Arc<AtomicBool>) -> impl Stack<TcpStream> + Send {
    let connector = service_fn(move |request: Request| {
        let time = if is_slow.load(Relaxed) {
            SLOW
        } else {
            Duration::ZERO
        };
        async move {
            sleep(time).await;
            TcpStream::connect(request.target.socket_addr().unwrap()).await
        }
    });
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

fn out(pool: &Pool) -> Vec<bool> {
    pool.upstreams().iter().map(|it| it.is_out).collect()
}

#[tokio::test]
async fn no_request_is_lost_to_one_killed_one_hung_and_one_slow_and_all_come_back() {
    let origin = Origin::echo(V4).await;
    let target = origin.addr();
    let is_slow = Arc::new(AtomicBool::new(false));
    let slow = Proxy::spawn(slow(is_slow.clone())).await;
    let (good, killed, hung) = tokio::join!(
        Child::start(&["--allow-private"]),
        Child::start(&["--allow-private"]),
        Child::start(&["--allow-private"]),
    );
    let killed_addr = killed.addr();
    let pause = Duration::from_millis(500);
    let breaker = Breaker::new().with_pause(pause, pause);
    let addrs = [good.addr(), killed_addr, hung.addr(), slow.addr()];
    let pool = ["good", "killed", "hung", "slow"]
        .into_iter()
        .zip(addrs)
        .fold(
            Pool::new().with_timeout(3 * OF_A_TRY).with_breaker(breaker),
            |pool, (name, addr)| {
                let connector = Socks5Connector::new(addr.into(), direct());
                pool.with_upstream(name, connector.with_timeout(OF_A_TRY))
            },
        );
    let for_a_while = |time: Duration| {
        let began = Instant::now();
        move |_: &Pool| began.elapsed() > time
    };

    let well = load(&pool, target, for_a_while(Duration::from_secs(1))).await;
    println!("all well: {well:?}");
    assert_eq!(well.lost, 0);

    is_slow.store(true, Relaxed);
    hung.signal(Signal::STOP);
    killed.signal(Signal::KILL);
    drop(killed);
    let falling = load(&pool, target, |pool| {
        out(pool) == [false, true, true, false]
    })
    .await;
    println!("until they are out: {falling:?}");
    assert_eq!(falling.lost, 0);

    let without = load(&pool, target, for_a_while(Duration::from_secs(3))).await;
    println!("while they are out: {without:?}");
    assert_eq!(without.lost, 0);
    assert!(without.served > 0);

    is_slow.store(false, Relaxed);
    hung.signal(Signal::CONT);
    let listen = killed_addr.to_string();
    let _back = Child::start_as(&["--listen", &listen, "--allow-private"]).await;
    let rising = load(&pool, target, |pool| out(pool) == [false; 4]).await;
    println!("until they are back: {rising:?}");
    assert_eq!(rising.lost, 0);

    let again = load(&pool, target, for_a_while(Duration::from_secs(1))).await;
    println!("all well again: {again:?}");
    assert_eq!(again.lost, 0);
    assert!(pool.upstreams().iter().all(|it| it.live == 0));
}

/// A proxy of all versions, and HTTP, that leads to `origin` whatever it is asked for,
/// unless that is an address.
async fn leads_to(origin: SocketAddr) -> Proxy {
    let connector = service_fn(move |request: Request| {
        let addr = request.target.socket_addr().unwrap_or(origin);
        TcpStream::connect(addr)
    });
    let socks = (
        HandshakeLayer::new().with_versions(Versions::ALL),
        AuthenticateLayer::new(NoAuth),
    );
    let stack = ServiceBuilder::new()
        .layer(HttpConnectLayer::open().or(socks))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    Proxy::spawn(stack).await
}

#[tokio::test]
async fn a_pool_is_a_hop_of_a_chain_and_a_chain_an_upstream_of_a_pool() {
    let origin = Origin::echo(V4).await;
    let (one, other, exit) = tokio::join!(
        leads_to(origin.addr()),
        leads_to(origin.addr()),
        leads_to(origin.addr()),
    );
    // Two ways in, by SOCKS5 and HTTP, then one way out, by SOCKS4a.
    let url = |scheme: &str, proxy: &Proxy| format!("{scheme}://{}", proxy.addr());
    let upstream = |url: String| ProxyConnector::new(url.parse().unwrap(), direct());
    let entries = UpstreamPool::new()
        .with_upstream("one", upstream(url("socks5h", &one)))
        .with_upstream("other", upstream(url("http", &other)));
    let chain = Socks4Connector::new(exit.addr().into(), entries.clone());
    let pool = UpstreamPool::new().with_upstream("chain", chain);
    for _ in 0..20 {
        let target: Target = "a.example:80".parse().unwrap();
        let request = Request::new(Session::new(), Command::CONNECT, target);
        let mut tunnel = pool.clone().oneshot(request).await.unwrap();
        assert_echoes(&mut tunnel.io, b"by three hops").await;
        // Plain TCP, whatever it leads through, and counted at both pools.
        assert!(tunnel.tcp().is_some());
        assert_eq!(pool.upstreams()[0].live, 1);
        assert_eq!(
            entries.upstreams().iter().map(|it| it.live).sum::<usize>(),
            1
        );
    }
    other.shut_down().await;
    for _ in 0..20 {
        let target: Target = "a.example:80".parse().unwrap();
        let request = Request::new(Session::new(), Command::CONNECT, target);
        assert!(pool.clone().oneshot(request).await.is_ok());
    }
    assert!(entries.upstreams()[1].is_out);
}
