//! Quotas, as clients meet them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    convert::Infallible,
    future::pending,
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use socks_tower::{
    Accepted, Attempt, AuthenticateLayer, BoxError, ConnectLayer, Direction, End, HandshakeLayer,
    Identity, NoAuth, Policy, Refusal, Relay, ReplyCode, Request, Session, Transfer, Versions,
    middleware::{MemoryQuota, QuotaKey, QuotaLayer, QuotaStore},
    v4::UserId,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, advance, sleep},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

const SOCKS5: &[u8] = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50";
const GRANTED5: &[u8] = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
const DENIED5: &[u8] = b"\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00";
const FAILED5: &[u8] = b"\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00";

/// SOCKS4 users are who they say they are; SOCKS5 users are nobody.
fn socks4(user: &str) -> Vec<u8> {
    [b"\x04\x01\x00\x50\x7f\x00\x00\x01", user.as_bytes(), b"\0"].concat()
}
const GRANTED4: &[u8] = b"\x00\x5a\x00\x00\x00\x00\x00\x00";
const REJECTED4: &[u8] = b"\x00\x5b\x00\x00\x00\x00\x00\x00";

type Ended = JoinHandle<Result<Transfer, BoxError>>;

/// A client that has said `hello` and heard `reply`, and its target.
async fn session(
    layer: &QuotaLayer,
    hello: &[u8],
    reply: &[u8],
) -> (DuplexStream, DuplexStream, Ended) {
    let target = Arc::new(Mutex::new(None));
    let place = Arc::clone(&target);
    let connector = service_fn(move |_: Request| {
        let (near, far) = duplex(64 * 1024);
        *place.lock().unwrap() = Some(far);
        async { Ok::<_, Infallible>(near) }
    });
    let claims = service_fn(|attempt: Attempt<UserId>| async move {
        let name = String::from_utf8(attempt.credentials.as_bytes().to_vec());
        name.map(Identity::new)
    });
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new().with_versions(Versions::ALL))
        .layer(AuthenticateLayer::new(NoAuth).with_user_ids(claims))
        .layer(layer.clone())
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let (mut client, io) = duplex(64 * 1024);
    let session = Session::new().with_client_addr("192.0.2.1:1".parse().unwrap());
    let accepted = Accepted::new(io, session);
    let ended = tokio::spawn(async move { proxy.oneshot(accepted).await.map_err(Into::into) });
    client.write_all(hello).await.unwrap();
    let mut heard = vec![0; reply.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, reply);
    let target = target.lock().unwrap().take();
    (client, target.unwrap_or_else(|| duplex(1).0), ended)
}

async fn refused(layer: &QuotaLayer, hello: &[u8], reply: &[u8]) -> String {
    let (mut client, _, ended) = session(layer, hello, reply).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    let error = ended.await.unwrap().unwrap_err();
    error.source().unwrap().to_string()
}

async fn all_of(stream: &mut DuplexStream) -> usize {
    let mut found = Vec::new();
    stream.read_to_end(&mut found).await.unwrap();
    found.len()
}

#[tokio::test(start_paused = true)]
async fn who_uses_up_a_quota_is_cut_off_at_the_byte_and_refused_until_the_next_period() {
    let layer = QuotaLayer::per_client(MemoryQuota::new(10_000, HOUR));
    let (mut client, mut target, ended) = session(&layer, SOCKS5, GRANTED5).await;
    target.write_all(&[0; 4_000]).await.unwrap();
    client.read_exact(&mut [0; 4_000]).await.unwrap();
    client.write_all(&[0; 9_000]).await.unwrap();
    assert_eq!(all_of(&mut target).await, 6_000);
    let transfer = ended.await.unwrap().unwrap();
    assert_eq!((transfer.up, transfer.down), (6_000, 4_000));
    assert_eq!(transfer.end, End::QuotaExceeded);

    let error = refused(&layer, SOCKS5, DENIED5).await;
    assert_eq!(error, "the quota of client:192.0.2.1 is used up");
    refused(&layer, &socks4("joe"), REJECTED4).await;

    advance(HOUR).await;
    session(&layer, SOCKS5, GRANTED5).await;
    session(&layer, &socks4("joe"), GRANTED4).await;
}

#[tokio::test(start_paused = true)]
async fn the_tunnels_of_a_user_share_and_others_are_left_alone() {
    let layer = QuotaLayer::per_identity(MemoryQuota::new(1_000, HOUR));
    let joe = socks4("joe");
    let (mut client_a, mut target_a, ended_a) = session(&layer, &joe, GRANTED4).await;
    let (mut client_b, mut target_b, ended_b) = session(&layer, &joe, GRANTED4).await;
    client_a.write_all(&[0; 700]).await.unwrap();
    target_a.read_exact(&mut [0; 700]).await.unwrap();
    client_b.write_all(&[0; 700]).await.unwrap();
    assert_eq!(all_of(&mut target_b).await, 300);
    assert_eq!(ended_b.await.unwrap().unwrap().end, End::QuotaExceeded);
    client_a.write_all(b"x").await.unwrap();
    assert_eq!(all_of(&mut target_a).await, 0);
    assert_eq!(ended_a.await.unwrap().unwrap().end, End::QuotaExceeded);
    refused(&layer, &joe, REJECTED4).await;

    let jim = session(&layer, &socks4("jim"), GRANTED4).await;
    let nobody = session(&layer, SOCKS5, GRANTED5).await;
    for (mut client, mut target, _) in [jim, nobody] {
        client.write_all(&[0; 1_000]).await.unwrap();
        target.read_exact(&mut [0; 1_000]).await.unwrap();
    }
    refused(&layer, SOCKS5, DENIED5).await;
}

#[tokio::test(start_paused = true)]
async fn a_fleet_shares_a_quota_to_the_byte() {
    let quota = Arc::new(MemoryQuota::new(100_000, HOUR));
    let fleet = [(); 3].map(|()| {
        QuotaLayer::overall(Arc::clone(&quota)).with_lease(NonZeroU64::new(1_000).unwrap())
    });
    let mut moved = 0;
    for proxy in fleet.iter().cycle().take(30) {
        let (mut client, mut target, ended) = session(proxy, SOCKS5, GRANTED5).await;
        client.write_all(&[0; 3_333]).await.unwrap();
        target.read_exact(&mut [0; 3_333]).await.unwrap();
        drop((client, target));
        moved += ended.await.unwrap().unwrap().up;
    }
    assert_eq!(moved, 99_990);
    assert_eq!(quota.left(&QuotaKey::Overall), 10, "leases are given back");
    let (mut client, mut target, _) = session(&fleet[0], SOCKS5, GRANTED5).await;
    client.write_all(&[0; 3_333]).await.unwrap();
    assert_eq!(all_of(&mut target).await, 10);
    for proxy in &fleet {
        refused(proxy, SOCKS5, DENIED5).await;
    }
}

/// A database: far away, and not always there.
struct Remote {
    left: AtomicU64,
    is_down: AtomicBool,
    asked: AtomicU64,
}

impl Remote {
    fn with(left: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(left),
            is_down: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl QuotaStore for Remote {
    async fn take(&self, _: &QuotaKey, want: u64) -> Result<u64, BoxError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err("down".into());
        }
        let left = self.left.load(Ordering::Relaxed);
        let bytes = want.min(left);
        self.left.store(left - bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn give_back(&self, _: &QuotaKey, bytes: u64) -> Result<(), BoxError> {
        sleep(Duration::from_millis(20)).await;
        self.left.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_far_away_is_asked_for_leases_and_given_back_what_is_left() {
    let remote = Remote::with(1_000_000);
    let layer =
        QuotaLayer::overall(Arc::clone(&remote)).with_lease(NonZeroU64::new(100_000).unwrap());
    let (mut client, mut target, ended) = session(&layer, SOCKS5, GRANTED5).await;
    for _ in 0..8 {
        client.write_all(&[0; 50_000]).await.unwrap();
        target.read_exact(&mut [0; 50_000]).await.unwrap();
    }
    assert!(remote.asked.load(Ordering::Relaxed) <= 9);
    drop((client, target));
    assert_eq!(ended.await.unwrap().unwrap().up, 400_000);
    sleep(SECOND).await;
    assert_eq!(remote.left.load(Ordering::Relaxed), 600_000);

    let (mut client, mut target, ended) = session(&layer, SOCKS5, GRANTED5).await;
    let sender = tokio::spawn(async move { while client.write_all(&[0; 5_000]).await.is_ok() {} });
    assert_eq!(all_of(&mut target).await, 600_000);
    assert_eq!(ended.await.unwrap().unwrap().end, End::QuotaExceeded);
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_lease_is_held_however_many_come_at_once() {
    let remote = Remote::with(1_000_000);
    let layer =
        QuotaLayer::overall(Arc::clone(&remote)).with_lease(NonZeroU64::new(10_000).unwrap());
    let held = || 1_000_000 - remote.left.load(Ordering::Relaxed);
    let all = (0..50).map(|_| {
        let layer = layer.clone();
        tokio::spawn(async move { session(&layer, SOCKS5, GRANTED5).await })
    });
    let mut live = Vec::new();
    for one in all.collect::<Vec<_>>() {
        live.push(one.await.unwrap());
    }
    assert_eq!((held(), remote.asked.load(Ordering::Relaxed)), (10_000, 1));

    let mut moved = 0;
    for (client, target, _) in &mut live {
        client.write_all(&[0; 2_345]).await.unwrap();
        target.read_exact(&mut [0; 2_345]).await.unwrap();
        moved += 2_345;
        assert!(held() <= moved + 10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_while_a_quota_is_asked_loses_no_lease() {
    let remote = Remote::with(1_000_000);
    let layer = QuotaLayer::overall(Arc::clone(&remote));
    let connector = service_fn(|_: Request| async { Ok::<_, Infallible>(duplex(1).0) });
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(layer)
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let (mut client, io) = duplex(64);
    client.write_all(SOCKS5).await.unwrap();
    let session = tokio::spawn(proxy.oneshot(Accepted::new(io, Session::new())));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(remote.asked.load(Ordering::Relaxed), 1);
    session.abort();
    sleep(SECOND).await;
    assert_eq!(remote.left.load(Ordering::Relaxed), 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_quota_chooses_what_those_hear_whom_it_fails() {
    struct Closed;
    #[async_trait]
    impl QuotaStore for Closed {
        async fn take(&self, _: &QuotaKey, _: u64) -> Result<u64, BoxError> {
            Err(Refusal::new(ReplyCode::NETWORK_UNREACHABLE, "closed")?.into())
        }
        async fn give_back(&self, _: &QuotaKey, _: u64) -> Result<(), BoxError> {
            panic!("nothing was taken")
        }
    }
    let unreachable = b"\x05\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00";
    refused(&QuotaLayer::overall(Closed), SOCKS5, unreachable).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_quota_cannot_be_told_nobody_is_let_in_and_tunnels_wait() {
    let remote = Remote::with(1_000_000);
    let layer =
        QuotaLayer::overall(Arc::clone(&remote)).with_lease(NonZeroU64::new(1_000).unwrap());
    let (mut client, mut target, ended) = session(&layer, SOCKS5, GRANTED5).await;
    remote.is_down.store(true, Ordering::Relaxed);
    client.write_all(&[0; 3_000]).await.unwrap();
    target.read_exact(&mut [0; 1_000]).await.unwrap();
    assert_eq!(refused(&layer, SOCKS5, FAILED5).await, "down");

    sleep(3 * SECOND).await;
    remote.is_down.store(false, Ordering::Relaxed);
    target.read_exact(&mut [0; 2_000]).await.unwrap();

    remote.is_down.store(true, Ordering::Relaxed);
    let started = Instant::now();
    client.write_all(&[0; 9_000]).await.unwrap();
    all_of(&mut target).await;
    let waited = started.elapsed();
    assert!((9 * SECOND..12 * SECOND).contains(&waited), "{waited:?}");
    assert_eq!(ended.await.unwrap().unwrap().end, End::QuotaExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_says_nothing_lets_nobody_in() {
    struct Silent;
    #[async_trait]
    impl QuotaStore for Silent {
        async fn take(&self, _: &QuotaKey, _: u64) -> Result<u64, BoxError> {
            pending().await
        }
        async fn give_back(&self, _: &QuotaKey, _: u64) -> Result<(), BoxError> {
            panic!("nothing was taken")
        }
    }
    let started = Instant::now();
    refused(&QuotaLayer::overall(Silent), SOCKS5, FAILED5).await;
    assert_eq!(started.elapsed().as_secs(), 5);
}

/// What carries out a quota in an association.
async fn association(layer: QuotaLayer) -> Policy {
    let (policies, mut policy) = tokio::sync::mpsc::channel(1);
    let relay = service_fn(move |requested: socks_tower::Requested<DuplexStream>| {
        let policies = policies.clone();
        async move {
            let policy = requested.request.session.policy.clone();
            policies.send(policy).await.unwrap();
            Ok::<_, Infallible>(Transfer::default())
        }
    });
    let requested = socks_tower::Requested::new(
        socks_tower::Inbound::new(duplex(1).0, Vec::new(), socks_tower::Version::Socks5),
        Request::new(
            Session::new(),
            socks_tower::Command::UDP_ASSOCIATE,
            socks_tower::Target::UNSPECIFIED,
        ),
    );
    let stack = ServiceBuilder::new().layer(layer).service(relay);
    stack.oneshot(requested).await.unwrap();
    policy.recv().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_association_ends_when_its_quota_is_too_small_for_a_datagram() {
    let layer = QuotaLayer::overall(MemoryQuota::new(2_000, HOUR));
    let policy = association(layer).await;
    assert!(policy.try_grant(Direction::Up, 1_500));
    assert!(!policy.is_exhausted());
    assert!(!policy.try_grant(Direction::Down, 1_500));
    assert!(policy.is_exhausted());
}

#[tokio::test(start_paused = true)]
async fn datagrams_larger_than_a_lease_pass() {
    let lease = NonZeroU64::new(1_000).unwrap();
    let layer = QuotaLayer::overall(MemoryQuota::new(6_000, HOUR)).with_lease(lease);
    let policy = association(layer).await;
    for bytes in [700, 700, 1_500, 1_500, 700, 900] {
        assert!(policy.try_grant(Direction::Up, bytes));
    }
    assert!(!policy.is_exhausted());
    assert!(!policy.try_grant(Direction::Up, 1));
    assert!(policy.is_exhausted());
}
