//! Meters and throttles of the session.

use std::sync::{Arc, Mutex};

use socks_tower::{
    Accepted, Direction, End, HasSession, UdpAssociate,
    policy::{Grant, Meter, Throttle},
    udp::DropReason,
};

use super::support::{Client, Proxy, echo, policy};

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
    let purse = Purse::with(40);
    let set = Arc::clone(&purse);
    let layer = move |accepted: Accepted<_>| with_purse(accepted, &set);
    let mut proxy = Proxy::start_behind(layer, UdpAssociate::new(policy())).await;
    let client = Client::new(&proxy).await;

    client.echo(&target.into(), target, b"").await;
    client.echo(&target.into(), target, b"ten bytes.").await;
    // Cannot be sent, so it is not charged.
    let nowhere = std::net::SocketAddr::from(([255, 255, 255, 255], 9));
    client.send(&nowhere.into(), b"ten bytes.").await;
    // More than there is: dropped, and something shorter passes.
    client.send(&target.into(), &[0; 21]).await;
    client.echo(&target.into(), target, b"ten bytes.").await;
    client.send(&target.into(), b"x").await;

    let transfer = proxy.ended().await.unwrap();
    assert_eq!(transfer.end, End::QuotaExceeded);
    assert_eq!((transfer.up, transfer.down), (20, 20));
    assert_eq!(*purse.used.lock().unwrap(), [20, 20]);
    let dropped = transfer.datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Throttled), 2);
    assert_eq!(dropped.of(DropReason::Unsendable), 1);
}
