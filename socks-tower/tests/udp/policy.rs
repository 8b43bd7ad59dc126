//! Meters and throttles of the session.

use std::sync::{Arc, Mutex};

use socks_tower::{
    Accepted, Direction, End, Grant, HasSession, Meter, Throttle, UdpAssociate, session::DropReason,
};

use super::support::{Client, Proxy, echo, judge};

/// Grants what it has, and no more; notes what was used.
#[derive(Default)]
struct Purse {
    has: Mutex<u64>,
    used: Mutex<[u64; 2]>,
}

impl Purse {
    fn with(has: u64) -> Arc<Self> {
        Arc::new(Self {
            has: Mutex::new(has),
            ..Self::default()
        })
    }
}

impl Throttle for Purse {
    fn take(&self, _: Direction, want: u64) -> Grant {
        let mut has = self.has.lock().unwrap();
        let granted = want.min(*has);
        *has -= granted;
        match granted {
            0 => Grant::Exhausted,
            granted => Grant::Bytes(granted),
        }
    }

    fn give_back(&self, _: Direction, bytes: u64) {
        *self.has.lock().unwrap() += bytes;
    }

    fn is_exhausted(&self) -> bool {
        *self.has.lock().unwrap() == 0
    }
}

impl Meter for Purse {
    fn record(&self, direction: Direction, bytes: u64) {
        self.used.lock().unwrap()[usize::from(direction == Direction::Down)] += bytes;
    }
}

fn with_purse<T: HasSession>(mut state: T, purse: &Arc<Purse>) -> T {
    let policy = &mut state.session_mut().policy;
    policy.add_meter(purse.clone());
    policy.add_throttle(purse.clone());
    state
}

#[tokio::test]
async fn a_policy_is_charged_for_what_was_sent_and_ends_the_association() {
    let target = echo("127.0.0.1").await;
    let purse = Purse::with(43);
    let set = Arc::clone(&purse);
    let layer = move |accepted: Accepted<_>| with_purse(accepted, &set);
    let mut proxy = Proxy::start_behind(layer, UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;

    // Charged as a byte each way.
    client.echo(&target.into(), target, b"").await;
    client.echo(&target.into(), target, b"ten bytes.").await;
    // Cannot be sent, so they are not charged.
    let nowhere = std::net::SocketAddr::from(([255, 255, 255, 255], 9));
    client.send(&nowhere.into(), b"ten bytes.").await;
    client.send(&nowhere.into(), b"").await;
    // More than there is: dropped, and something shorter passes.
    client.send(&target.into(), &[0; 22]).await;
    client.echo(&target.into(), target, b"ten bytes.").await;
    // The last byte: there is none for the answer.
    client.send(&target.into(), b"").await;

    let transfer = proxy.ended().await.unwrap();
    assert_eq!(transfer.end, End::QuotaExceeded);
    assert_eq!((transfer.up, transfer.down), (20, 20));
    assert_eq!(*purse.used.lock().unwrap(), [20, 20]);
    let dropped = transfer.datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Throttled), 2);
    assert_eq!(dropped.of(DropReason::Unsendable), 2);
    let datagrams = transfer.datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (4, 3));
}

/// Sets what `layer` does in front of an association.
#[cfg(feature = "bandwidth")]
fn behind<Io: Send + 'static>(
    layer: socks_tower::middleware::BandwidthLayer,
) -> impl Fn(Accepted<Io>) -> Accepted<Io> + Clone + Send + Sync {
    use std::{convert::Infallible, future::ready};

    use tower::{Layer, Service, service_fn};

    move |accepted| {
        let set = service_fn(|accepted| ready(Ok::<_, Infallible>(accepted)));
        layer.layer(set).call(accepted).into_inner().unwrap()
    }
}

#[cfg(feature = "bandwidth")]
#[tokio::test]
async fn what_a_bandwidth_limit_has_no_room_for_is_dropped_each_way() {
    use socks_tower::middleware::{BandwidthLayer, ByteRate};

    // So slow that the burst is all there is: for two datagrams of 1,000 bytes
    // and, as a byte, one without payload.
    let slow = ByteRate::per_second(1).with_burst(2001);
    for (rate, echoed, up, down) in [
        (slow.with_down(None), 2, 2, 2),
        (slow.with_up(None), 2, 3, 2),
        (ByteRate::per_second(1_000_000_000), 3, 3, 3),
    ] {
        let target = echo("127.0.0.1").await;
        let layer = BandwidthLayer::per_tunnel(rate);
        let mut proxy = Proxy::start_behind(behind(layer), UdpAssociate::new(judge())).await;
        let client = Client::new(&proxy).await;

        for _ in 0..echoed {
            client.echo(&target.into(), target, &[7; 1000]).await;
        }
        for _ in echoed..3 {
            client.send(&target.into(), &[7; 1000]).await;
        }
        // It comes behind the rest.
        client.echo(&target.into(), target, b"").await;

        drop(client);
        let transfer = proxy.ended().await.unwrap();
        assert_eq!((transfer.up, transfer.down), (up * 1000, down * 1000));
        let dropped = transfer.datagrams.unwrap().dropped;
        assert_eq!(dropped.of(DropReason::Throttled), 3 - echoed);
        assert_eq!(dropped.total(), 3 - echoed);
    }
}

#[cfg(feature = "bandwidth")]
#[tokio::test]
async fn the_associations_of_a_client_share_its_bandwidth() {
    use socks_tower::middleware::{BandwidthLayer, ByteRate};

    let rate = ByteRate::per_second(1).with_burst(1001);
    let layer = BandwidthLayer::per_client(rate);
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start_behind(behind(layer), UdpAssociate::new(judge())).await;
    for (has_room, throttled) in [(true, 0), (false, 1)] {
        let client = Client::new(&proxy).await;
        if has_room {
            client.echo(&target.into(), target, &[7; 1000]).await;
        } else {
            client.send(&target.into(), &[7; 1000]).await;
            client.echo(&target.into(), target, b"").await;
        }
        drop(client);
        let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
        assert_eq!(dropped.of(DropReason::Throttled), throttled);
    }
}

/// Grants all, and tells of each datagram that comes up.
#[cfg(feature = "bandwidth")]
struct Asked(tokio::sync::mpsc::UnboundedSender<()>);

#[cfg(feature = "bandwidth")]
impl Throttle for Asked {
    fn take(&self, direction: Direction, want: u64) -> Grant {
        if direction == Direction::Up {
            self.0.send(()).unwrap();
        }
        Grant::Bytes(want)
    }

    fn give_back(&self, _: Direction, _: u64) {}
}

#[cfg(feature = "bandwidth")]
#[tokio::test]
async fn the_associations_of_a_client_share_its_rate_of_datagrams() {
    use socks_tower::middleware::{BandwidthLayer, DatagramRate};

    // So slow that the burst is all there is; answers are not limited.
    let rate = DatagramRate::per_second(1).with_down(None).with_burst(3);
    let limit = behind(BandwidthLayer::per_client(rate));
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let asked = Arc::new(Asked(asked));
    let front = move |mut accepted: Accepted<_>| {
        accepted.session.policy.add_throttle(asked.clone());
        limit(accepted)
    };
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start_behind(front, UdpAssociate::new(judge())).await;
    for (echoed, throttled) in [(2, 0), (1, 2)] {
        let client = Client::new(&proxy).await;
        for len in [0, 1000].into_iter().take(echoed) {
            client.echo(&target.into(), target, &vec![7; len]).await;
        }
        for _ in 0..throttled {
            client.send(&target.into(), b"one too many").await;
        }
        for _ in 0..echoed as u64 + throttled {
            is_asked.recv().await.unwrap();
        }
        drop(client);
        let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
        assert_eq!(datagrams.up, echoed as u64);
        assert_eq!(datagrams.dropped.of(DropReason::Throttled), throttled);
    }
}
