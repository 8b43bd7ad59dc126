//! Names whose addresses change while they are in use.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tower::{BoxError, Target, UdpAssociate};
use tokio::{
    net::UdpSocket,
    sync::Semaphore,
    task::yield_now,
    time::{advance, pause, resume, timeout},
};
use tower::service_fn;

use super::support::{Client, PATIENCE, Proxy, judge_by, name};

/// What `moving.example` stands for by now. Each look-up takes a permit.
#[derive(Clone)]
struct Dns {
    ips: Arc<Mutex<Vec<&'static str>>>,
    permits: Arc<Semaphore>,
}

impl Dns {
    async fn look_up(self) -> Result<Vec<IpAddr>, BoxError> {
        self.permits.acquire().await?.forget();
        let ips = self.ips.lock().unwrap().clone();
        if ips.is_empty() {
            return Err("no such name".into());
        }
        Ok(ips.into_iter().map(|ip| ip.parse().unwrap()).collect())
    }

    fn now(&self, ips: &[&'static str], permits: usize) {
        *self.ips.lock().unwrap() = ips.to_vec();
        self.permits.add_permits(permits);
    }
}

/// Gives everything back, from the same port of two addresses.
async fn echoes() -> (SocketAddr, SocketAddr) {
    for _ in 0..100 {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let old = first.local_addr().unwrap();
        let new = SocketAddr::new("127.0.0.2".parse().unwrap(), old.port());
        let Ok(second) = UdpSocket::bind(new).await else {
            continue;
        };
        for socket in [first, second] {
            tokio::spawn(async move {
                let mut bytes = vec![0; 65_536];
                while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
                    let _ = socket.send_to(&bytes[..len], from).await;
                }
            });
        }
        return (old, new);
    }
    panic!("no port is free on both addresses");
}

async fn a_minute_passes() {
    pause();
    advance(Duration::from_secs(61)).await;
    resume();
}

struct Moving {
    dns: Dns,
    client: Client,
    target: Target,
    old: SocketAddr,
    new: SocketAddr,
    _proxy: Proxy,
}

impl Moving {
    /// A client that has had an answer of the old address.
    async fn start() -> Self {
        let dns = Dns {
            ips: Arc::default(),
            permits: Arc::new(Semaphore::new(0)),
        };
        dns.now(&["127.0.0.1"], 1);
        let resolver = dns.clone();
        let judge = judge_by(service_fn(move |_| resolver.clone().look_up()));
        let proxy = Proxy::start(UdpAssociate::new(judge)).await;
        let client = Client::new(&proxy).await;
        let (old, new) = echoes().await;
        let target = name("moving.example", old.port());
        client.echo(&target, old, b"first").await;
        Self {
            dns,
            client,
            target,
            old,
            new,
            _proxy: proxy,
        }
    }

    async fn answers_from(&self, source: SocketAddr) {
        self.client.echo(&self.target, source, b"hello").await;
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed_after_a_minute() {
    let moving = Moving::start().await;
    moving.dns.now(&["127.0.0.2"], 1);
    moving.answers_from(moving.old).await;
    a_minute_passes().await;
    moving.answers_from(moving.new).await;
    // And back.
    moving.dns.now(&["127.0.0.1"], 1);
    a_minute_passes().await;
    moving.answers_from(moving.old).await;
}

#[tokio::test]
async fn datagrams_go_to_the_old_address_until_the_new_one_is_known() {
    let moving = Moving::start().await;
    a_minute_passes().await;
    // The look-up is under way, and one is enough.
    moving.answers_from(moving.old).await;
    moving.answers_from(moving.old).await;
    moving.dns.now(&["127.0.0.2"], 1);
    // The answer wakes the association before the next datagram does.
    let taken = async {
        while moving.dns.permits.available_permits() > 0 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    moving.client.send(&moving.target, b"wherever").await;
    moving.client.receive().await;
    moving.answers_from(moving.new).await;
    assert_eq!(moving.dns.permits.available_permits(), 0);
}

#[tokio::test]
async fn a_look_up_that_fails_keeps_the_old_address() {
    let moving = Moving::start().await;
    moving.dns.now(&[], 1);
    a_minute_passes().await;
    moving.answers_from(moving.old).await;
    moving.answers_from(moving.old).await;
    assert_eq!(moving.dns.permits.available_permits(), 0);
    // The next one finds it.
    moving.dns.now(&["127.0.0.2"], 1);
    a_minute_passes().await;
    moving.answers_from(moving.new).await;
}

#[tokio::test]
async fn an_address_that_is_still_the_name_s_is_kept() {
    let moving = Moving::start().await;
    moving.dns.now(&["127.0.0.2", "127.0.0.1"], 1);
    a_minute_passes().await;
    moving.answers_from(moving.old).await;
    moving.answers_from(moving.old).await;
    assert_eq!(moving.dns.permits.available_permits(), 0);
}
