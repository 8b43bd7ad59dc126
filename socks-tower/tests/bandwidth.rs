//! Bandwidth limits, as tunnels keep them.

#![expect(clippy::unwrap_used, reason = "a test")]

#[cfg(all(target_os = "linux", feature = "splice"))]
mod pipes;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socks_tower::{
    Command, Connected, Identity, Inbound, Outbound, Relay, Request, Requested, Session, Stream,
    Target, Transfer, Version,
    middleware::{BandwidthLayer, ByteRate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn tunnel<Io: Stream, Up: Stream>(
    layer: &BandwidthLayer,
    session: Session,
    client: Io,
    upstream: Up,
) -> JoinHandle<Transfer> {
    let future = layer.layer(Relay::new()).call(Connected::new(
        Inbound::new(client, Vec::new(), Version::Socks5),
        Outbound::new(upstream),
        Request::new(session, Command::CONNECT, Target::UNSPECIFIED),
    ));
    tokio::spawn(async { future.await.unwrap() })
}

fn pipes(layer: &BandwidthLayer, session: Session) -> (DuplexStream, DuplexStream) {
    let (client, near) = duplex(64 * 1024);
    let (far, target) = duplex(64 * 1024);
    tunnel(layer, session, near, far);
    (client, target)
}

fn from(addr: &str) -> Session {
    Session::new().with_client_addr(addr.parse().unwrap())
}

/// Sends without end from one to the other; counts what arrives.
fn flood(mut from: DuplexStream, mut to: DuplexStream) -> Arc<AtomicU64> {
    let arrived = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&arrived);
    tokio::spawn(async move { while from.write_all(&[0; 64 * 1024]).await.is_ok() {} });
    tokio::spawn(async move {
        let mut space = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = to.read(&mut space).await {
            count.fetch_add(len as u64, Ordering::Relaxed);
        }
    });
    arrived
}

fn download(layer: &BandwidthLayer, session: Session) -> Arc<AtomicU64> {
    let (client, target) = pipes(layer, session);
    flood(target, client)
}

/// Bytes per second, over ten of them.
async fn rates<const N: usize>(counts: [&Arc<AtomicU64>; N]) -> [u64; N] {
    sleep(10 * SECOND).await;
    counts.map(|count| count.load(Ordering::Relaxed) / 10)
}

#[track_caller]
fn assert_about(found: u64, expected: u64, percent: u64) {
    let margin = expected * percent / 100;
    assert!(
        found.abs_diff(expected) <= margin,
        "{found} is not {expected}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_gets_its_rate_to_within_5_percent() {
    for rate in [10_000, 1_000_000, 10_000_000] {
        let layer = BandwidthLayer::per_tunnel(ByteRate::per_second(rate));
        let [found] = rates([&download(&layer, Session::new())]).await;
        assert_about(found, rate, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_tunnels_share_a_rate_evenly() {
    let layer = BandwidthLayer::overall(ByteRate::per_second(10_000_000));
    let counts: Vec<_> = (0..50).map(|_| download(&layer, Session::new())).collect();
    sleep(10 * SECOND).await;
    let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
    assert_about(counts.clone().sum::<u64>(), 100_000_000, 5);
    // The first has the burst, 1 MB, to itself.
    for count in counts.skip(1) {
        assert_about(count, 2_000_000, 15);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_in_a_direction_there_is_none() {
    let rate = ByteRate::per_second(1000).with_up(2000).with_down(None);
    let layer = BandwidthLayer::per_tunnel(rate);
    let (mut client, mut target) = pipes(&layer, Session::new());
    let started = Instant::now();
    target.write_all(&[0; 60_000]).await.unwrap();
    client.read_exact(&mut [0; 60_000]).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    let [up] = rates([&flood(client, target)]).await;
    assert_about(up, 2000, 10);
}

#[tokio::test(start_paused = true)]
async fn limits_nest() {
    let layer = BandwidthLayer::per_tunnel(ByteRate::per_second(100_000))
        .and(BandwidthLayer::per_client(ByteRate::per_second(250_000)))
        .and(BandwidthLayer::overall(ByteRate::per_second(400_000)));
    let (one, other) = ("192.0.2.1:1", "192.0.2.2:1");
    let first = download(&layer, from(one));
    let [found] = rates([&first]).await;
    assert_about(found, 100_000, 5);

    // Four tunnels would take 400,000.
    let more = [(); 3].map(|()| download(&layer, from(one)));
    let [a, b, c] = more.each_ref();
    let before = first.load(Ordering::Relaxed);
    let of_one: u64 = rates([a, b, c]).await.iter().sum();
    let of_one = of_one + (first.load(Ordering::Relaxed) - before) / 10;
    assert_about(of_one, 250_000, 5);

    // Two clients would take 450,000.
    let clients = [&first, a, b, c];
    let of_clients = || clients.map(|count| count.load(Ordering::Relaxed));
    let before: u64 = of_clients().iter().sum();
    let others = [(); 2].map(|()| download(&layer, from(other)));
    let [d, e] = others.each_ref();
    let of_other: u64 = rates([d, e]).await.iter().sum();
    let of_one = (of_clients().iter().sum::<u64>() - before) / 10;
    assert_about(of_one + of_other, 400_000, 5);
    assert!(
        of_one <= 260_000 && of_other <= 210_000,
        "{of_one}, {of_other}"
    );
    assert!(of_other >= 100_000, "{of_other}");
}

#[tokio::test(start_paused = true)]
async fn who_counts_as_one() {
    let joe = || Session::new().with_identity(Identity::new("joe"));
    let jim = || Session::new().with_identity(Identity::new("jim"));
    let rate = ByteRate::per_second(100_000);
    let per_client = || BandwidthLayer::per_client(rate);
    let per_identity = || BandwidthLayer::per_identity(rate);
    for (layer, a, b, is_one) in [
        (per_client(), from("192.0.2.1:1"), from("192.0.2.1:2"), true),
        (
            per_client(),
            from("192.0.2.1:1"),
            from("[::ffff:192.0.2.1]:1"),
            true,
        ),
        (
            per_client(),
            from("192.0.2.1:1"),
            from("192.0.2.2:1"),
            false,
        ),
        (
            per_client(),
            from("[2001:db8::1]:1"),
            from("[2001:db8::2]:1"),
            true,
        ),
        (
            per_client(),
            from("[2001:db8::1]:1"),
            from("[2001:db8:0:1::1]:1"),
            false,
        ),
        (per_client(), Session::new(), Session::new(), true),
        (per_identity(), joe(), joe(), true),
        (per_identity(), joe(), jim(), false),
        (
            per_identity(),
            from("192.0.2.1:1"),
            from("192.0.2.2:1"),
            true,
        ),
    ] {
        let what = format!("{a:?}, {b:?}");
        // Clones are one layer.
        let counts = [download(&layer, a), download(&layer.clone(), b)];
        let found: u64 = rates(counts.each_ref()).await.iter().sum();
        let expected = if is_one { 100_000 } else { 200_000 };
        assert!(found.abs_diff(expected) <= expected / 20, "{what}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_and_comes_again_has_no_burst_again() {
    let rate = ByteRate::per_second(100_000).with_burst(50_000);
    let layer = BandwidthLayer::per_client(rate);
    let session = || from("192.0.2.1:1");
    let started = Instant::now();
    for _ in 0..20 {
        let (mut client, mut target) = pipes(&layer, session());
        target.write_all(&[0; 50_000]).await.unwrap();
        client.read_exact(&mut [0; 50_000]).await.unwrap();
    }
    // 20 times 50,000, less one burst.
    let took = started.elapsed();
    assert!(took >= 19 * SECOND / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_wants_little_hardly_waits_for_those_who_want_all() {
    let layer = BandwidthLayer::overall(ByteRate::per_second(1_000_000));
    let _floods: Vec<_> = (0..50).map(|_| download(&layer, Session::new())).collect();
    sleep(SECOND).await;
    let (mut client, mut target) = pipes(&layer, Session::new());
    let started = Instant::now();
    for _ in 0..20 {
        target.write_all(b"a few bytes").await.unwrap();
        client.read_exact(&mut [0; 11]).await.unwrap();
        sleep(SECOND / 10 + Duration::from_millis(3)).await;
    }
    let waited = started.elapsed() - 20 * (SECOND / 10 + Duration::from_millis(3));
    // 50 turns take 820 ms, and it came 20 times.

    assert!(waited < 10 * SECOND, "{waited:?}");
}

#[tokio::test]
async fn the_layer_stands_between_any_stages() {
    async fn policy_of<T: socks_tower::HasSession>(state: T) -> Result<String, Infallible> {
        Ok(format!("{:?}", state.session().policy))
    }
    let layer = BandwidthLayer::per_tunnel(ByteRate::per_second(1))
        .and(BandwidthLayer::overall(ByteRate::per_second(1)));
    // Its limits are one throttle.
    let expected = "Policy { meters: 0, throttles: 1, taps: 0 }";
    let (io, _far) = duplex(1);
    let accepted = socks_tower::Accepted::new(io, Session::new());
    let outermost = layer.layer(tower::service_fn(policy_of));
    assert_eq!(outermost.oneshot(accepted).await.unwrap(), expected);
    let requested = Requested::new(
        Inbound::new(duplex(1).0, Vec::new(), Version::Socks5),
        Request::new(Session::new(), Command::CONNECT, Target::UNSPECIFIED),
    );
    let further_in = layer.layer(tower::service_fn(policy_of));
    assert_eq!(further_in.oneshot(requested).await.unwrap(), expected);
}

#[cfg(all(target_os = "linux", feature = "splice"))]
#[tokio::test]
async fn splicing_goes_on_under_a_limit() {
    use pipes::{pair, pipe_ends};

    let before = pipe_ends();
    let ((mut client, near), (target, far)) = tokio::join!(pair(), pair());
    let layer = BandwidthLayer::per_tunnel(ByteRate::per_second(20_000_000));
    let session = tunnel(&layer, Session::new(), near, far);
    let sent: Vec<u8> = (0..=250).cycle().take(8_000_000).collect();
    let received = async {
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        drop(client);
        received
    };
    let sending = async {
        let mut target = target;
        target.write_all(&sent).await.unwrap();
    };
    let started = Instant::now();
    let (received, ()) = tokio::join!(received, sending);
    assert!(received == sent, "{} bytes differ", received.len());
    // The first 2 MB are the burst.
    assert!(started.elapsed() >= Duration::from_millis(290));
    assert_eq!(session.await.unwrap().down, 8_000_000);
    // This thread's pool keeps the pipe.
    assert!(pipe_ends() > before, "no pipe was used");
}
