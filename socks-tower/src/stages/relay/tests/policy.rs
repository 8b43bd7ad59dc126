//! A session's policy, carried out.

use std::collections::VecDeque;

use tokio::{
    sync::Notify,
    time::{Instant, advance},
};

use super::*;
use crate::session::policy::{Direction, Grant, Meter, Policy, Throttle};

/// Grants what it was told to, in this order, then nothing for ever; notes
/// what it hears.
#[derive(Default)]
struct Script {
    grants: Mutex<VecDeque<Grant>>,
    only: Option<Direction>,
    spent: Mutex<[u64; 2]>,
    recorded: Mutex<Vec<(Direction, u64)>>,
    asked: Notify,
}

impl Script {
    fn new(only: Direction, grants: impl IntoIterator<Item = Grant>) -> Arc<Self> {
        Arc::new(Self {
            grants: Mutex::new(grants.into_iter().collect()),
            only: Some(only),
            ..Self::default()
        })
    }

    fn spent(&self) -> [u64; 2] {
        *self.spent.lock().unwrap()
    }
}

impl Throttle for Script {
    fn take(&self, direction: Direction, want: u64) -> Grant {
        if self.only.is_some_and(|only| only != direction) {
            return Grant::Bytes(want);
        }
        self.asked.notify_one();
        let next = self.grants.lock().unwrap().pop_front();
        let never = Grant::Wait(Instant::now() + 1_000_000 * SECOND);
        match next.unwrap_or(never) {
            Grant::Bytes(bytes) => {
                self.spent.lock().unwrap()[direction as usize] += bytes.min(want);
                Grant::Bytes(bytes.min(want))
            }
            other => other,
        }
    }

    fn give_back(&self, direction: Direction, bytes: u64) {
        if self.only.is_none_or(|only| only == direction) {
            self.spent.lock().unwrap()[direction as usize] -= bytes;
        }
    }
}

impl Meter for Script {
    fn record(&self, direction: Direction, bytes: u64) {
        self.recorded.lock().unwrap().push((direction, bytes));
    }
}

/// A tunnel whose session has a policy.
fn join_with(relay: &Relay, policy: Policy) -> (DuplexStream, DuplexStream, JoinHandle<Transfer>) {
    let (client, near) = duplex(64 * 1024);
    let (far, target) = duplex(64 * 1024);
    let mut connected = connected(near, far);
    connected.request.session.policy = policy;
    (client, target, run(relay, connected))
}

fn throttled_by(throttle: &Arc<Script>) -> Policy {
    let mut policy = Policy::new();
    policy.add_throttle(Arc::clone(throttle));
    policy
}

#[tokio::test]
async fn a_meter_hears_of_a_wake_up_once_and_of_every_byte() {
    let meter = Arc::new(Script::default());
    let mut policy = Policy::new();
    policy.add_meter(Arc::clone(&meter));
    let endless = || Endless {
        takes: u64::MAX,
        ..Endless::default()
    };
    let mut connected = connected(endless(), endless());
    connected.client.early = b"early".to_vec();
    connected.request.session.policy = policy;
    let mut future = Box::pin(Relay::new().call(connected));
    assert!(is_pending(future.as_mut()));
    let (up, down) = ((Direction::Up, (1 << 20) + 5), (Direction::Down, 1 << 20));
    assert_eq!(*meter.recorded.lock().unwrap(), [up, down]);
}

#[tokio::test(start_paused = true)]
async fn a_meter_s_sum_is_what_the_transfer_says() {
    let meter = Arc::new(Script::default());
    let mut policy = Policy::new();
    policy.add_meter(Arc::clone(&meter));
    let (mut client, mut target, tunnel) = join_with(&Relay::new(), policy);
    client.write_all(b"request").await.unwrap();
    expect(&mut target, b"request").await;
    target.write_all(b"an answer").await.unwrap();
    expect(&mut client, b"an answer").await;
    drop((client, target));
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.down), (7, 9));
    let recorded = [(Direction::Up, 7), (Direction::Down, 9)];
    assert_eq!(*meter.recorded.lock().unwrap(), recorded);
}

#[tokio::test(start_paused = true)]
async fn a_flow_reads_what_it_is_granted_and_waits_as_long_as_it_is_told() {
    let start = Instant::now();
    let throttle = Script::new(
        Direction::Up,
        [
            Grant::Bytes(3),
            Grant::Wait(start + 5 * SECOND),
            Grant::Bytes(100),
            Grant::Bytes(100),
        ],
    );
    let (mut client, mut target, _tunnel) = join_with(&Relay::new(), throttled_by(&throttle));
    client.write_all(b"abcdefgh").await.unwrap();
    // The other direction is not held back.
    target.write_all(b"down").await.unwrap();
    expect(&mut client, b"down").await;
    expect(&mut target, b"abc").await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    expect(&mut target, b"defgh").await;
    let waited = start.elapsed();
    assert!((5 * SECOND..6 * SECOND).contains(&waited), "{waited:?}");
    assert_eq!(throttle.spent(), [8, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_without_an_instant_to_come_is_asked_again_soon_and_no_sooner() {
    let past = Instant::now();
    let grants = [Grant::Bytes(0), Grant::Wait(past), Grant::Wait(past)];
    let grants = grants.into_iter().chain([Grant::Bytes(9)]);
    let throttle = Script::new(Direction::Up, grants);
    let (mut client, mut target, _tunnel) = join_with(&Relay::new(), throttled_by(&throttle));
    client.write_all(b"x").await.unwrap();
    expect(&mut target, b"x").await;
    let waited = past.elapsed().as_millis();
    assert!((3..=10).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sent_early_is_asked_for_too() {
    let start = Instant::now();
    let grants = [
        Grant::Bytes(3),
        Grant::Wait(start + SECOND),
        Grant::Bytes(3),
        Grant::Bytes(100),
    ];
    let throttle = Script::new(Direction::Up, grants);
    let (_client, near) = duplex(64);
    let (far, mut target) = duplex(64);
    let mut connected = connected(near, far);
    connected.client.early = b"early".to_vec();
    connected.request.session.policy = throttled_by(&throttle);
    let _tunnel = run(&Relay::new(), connected);
    expect(&mut target, b"early").await;
    assert!(start.elapsed() >= SECOND);
    assert_eq!(throttle.spent(), [5, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_is_held_back_is_not_idle_but_has_a_lifetime() {
    for lifetime in [None, Some(50 * SECOND)] {
        let start = Instant::now();
        let wait = |seconds| Grant::Wait(start + seconds * SECOND);
        let grants = [wait(40), wait(80)];
        let throttle = Script::new(
            Direction::Up,
            grants.into_iter().chain([Grant::Bytes(9); 9]),
        );
        let relay = Relay::new()
            .with_idle_timeout(10 * SECOND)
            .with_lifetime(lifetime);
        let (mut client, mut target, tunnel) = join_with(&relay, throttled_by(&throttle));
        client.write_all(b"late").await.unwrap();
        if lifetime.is_none() {
            expect(&mut target, b"late").await;
            assert_eq!(start.elapsed().as_secs(), 80);
        }
        let transfer = tunnel.await.unwrap();
        let (end, after) = match lifetime {
            None => (End::IdleTimeout, 90),
            Some(_) => (End::LifetimeExceeded, 50),
        };
        assert_eq!((transfer.end, transfer.duration.as_secs()), (end, after));
    }
}

#[tokio::test(start_paused = true)]
async fn without_timeouts_a_flow_that_is_held_back_goes_on_all_the_same() {
    let start = Instant::now();
    let grants = [Grant::Wait(start + SECOND), Grant::Bytes(9)];
    let throttle = Script::new(Direction::Down, grants);
    let relay = Relay::new()
        .with_idle_timeout(None)
        .with_half_closed_timeout(None);
    let (mut client, mut target, _tunnel) = join_with(&relay, throttled_by(&throttle));
    target.write_all(b"late").await.unwrap();
    expect(&mut client, b"late").await;
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_direction_that_ended_while_it_was_held_back_wakes_nobody() {
    let start = Instant::now();
    let throttle = Script::new(Direction::Up, [Grant::Wait(start + SECOND)]);
    let (_, near) = duplex(64);
    let note = Arc::default();
    let broken = Noted {
        note,
        reads: Vec::new(),
        error: Some(io::ErrorKind::ConnectionReset),
    };
    let mut connected = connected(near, broken);
    connected.request.session.policy = throttled_by(&throttle);
    let transfer = run(&Relay::new(), connected).await.unwrap();
    assert_eq!(transfer.end, End::UpstreamReset);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_wait_is_flushed() {
    let throttle = Script::new(Direction::Up, [Grant::Bytes(4)]);
    let (mut client, near) = duplex(64);
    let (far, mut target) = duplex(64);
    let mut connected = connected(near, BufStream::new(far));
    connected.request.session.policy = throttled_by(&throttle);
    let _tunnel = run(&Relay::new(), connected);
    client.write_all(b"pingpong").await.unwrap();
    expect(&mut target, b"ping").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_granted_no_more_ends() {
    let grants = [Grant::Bytes(4), Grant::Exhausted];
    let throttle = Script::new(Direction::Up, grants);
    let (mut client, mut target, tunnel) = join_with(&Relay::new(), throttled_by(&throttle));
    client.write_all(b"over the top").await.unwrap();
    expect(&mut target, b"over").await;
    expect_end(&mut target).await;
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.end), (4, End::QuotaExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_waits_is_not_asked_for_by_the_other_s_bytes() {
    let wait = Grant::Wait(Instant::now() + 60 * SECOND);
    let throttle = Script::new(Direction::Up, [wait]);
    let (mut client, mut target, _tunnel) = join_with(&Relay::new(), throttled_by(&throttle));
    throttle.asked.notified().await;
    for _ in 0..10 {
        target.write_all(b"down").await.unwrap();
        expect(&mut client, b"down").await;
        advance(SECOND).await;
    }
    // A second question would have been answered with more than a minute.
    assert!(throttle.grants.lock().unwrap().is_empty());
    let again = tokio::time::timeout(45 * SECOND, throttle.asked.notified());
    assert!(again.await.is_err());
    throttle.asked.notified().await;
}
