//! Taps in a session's policy.

use super::*;
use crate::session::policy::{Direction, Grant, Look, Meter, Policy, Tap, Throttle};

/// Wants so much of each direction, and notes what it is shown. An exclamation
/// mark ends the session.
struct Notes {
    wants: [usize; 2],
    seen: Arc<Mutex<Vec<(Direction, Vec<u8>)>>>,
}

impl Tap for Notes {
    fn wants(&self, direction: Direction) -> usize {
        self.wants[direction as usize]
    }

    fn look(&mut self, direction: Direction, bytes: &[u8]) -> Look {
        self.seen.lock().unwrap().push((direction, bytes.to_vec()));
        match bytes.ends_with(b"!") {
            true => Look::End,
            false => Look::More,
        }
    }
}

type Seen = Arc<Mutex<Vec<(Direction, Vec<u8>)>>>;

fn tapped(wants: [usize; 2]) -> (Policy, Seen) {
    let seen = Seen::default();
    let mut policy = Policy::new();
    policy.add_tap(Notes {
        wants,
        seen: Arc::clone(&seen),
    });
    (policy, seen)
}

fn seen(seen: &Seen, of: Direction) -> Vec<u8> {
    let seen = seen.lock().unwrap();
    let shown = seen.iter().filter(|(direction, _)| *direction == of);
    shown.flat_map(|(_, bytes)| bytes.clone()).collect()
}

fn join_with(policy: Policy, early: &[u8]) -> (DuplexStream, DuplexStream, JoinHandle<Transfer>) {
    let (client, near) = duplex(64 * 1024);
    let (far, target) = duplex(64 * 1024);
    let mut connected = connected(near, far);
    connected.client.early = early.to_vec();
    connected.request.session.policy = policy;
    (client, target, run(&Relay::new(), connected))
}

#[tokio::test(start_paused = true)]
async fn a_tap_is_shown_the_first_bytes_of_each_direction_early_ones_first() {
    let (policy, notes) = tapped([12, 3]);
    let (mut client, mut target, tunnel) = join_with(policy, b"early ");
    expect(&mut target, b"early ").await;
    for (bytes, shown) in [
        ("and ", "early and "),
        ("late", "early and la"),
        ("r", "early and la"),
    ] {
        client.write_all(bytes.as_bytes()).await.unwrap();
        expect(&mut target, bytes.as_bytes()).await;
        assert_eq!(seen(&notes, Direction::Up), shown.as_bytes());
    }
    assert_eq!(
        Arc::strong_count(&notes),
        2,
        "it wants to see what comes down"
    );
    target.write_all(b"answer").await.unwrap();
    expect(&mut client, b"answer").await;
    assert_eq!(seen(&notes, Direction::Down), b"ans");
    assert_eq!(Arc::strong_count(&notes), 1, "gone");

    drop((client, target));
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.down), (15, 6));
    assert_eq!(transfer.end, End::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tap_ends_the_session_before_the_target_hears_what_it_saw() {
    let (policy, _notes) = tapped([100, 100]);
    let (mut client, mut target, tunnel) = join_with(policy, b"");
    client.write_all(b"this").await.unwrap();
    expect(&mut target, b"this").await;
    client.write_all(b" not!").await.unwrap();
    expect_end(&mut target).await;
    expect_end(&mut client).await;
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.end), (4, End::EndedByTap));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_early_goes_nowhere_if_a_tap_ends_the_session() {
    let (policy, _notes) = tapped([100, 100]);
    let (_client, mut target, tunnel) = join_with(policy, b"early!");
    target.write_all(b"too late").await.unwrap();
    expect_end(&mut target).await;
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.down), (0, 0));
    assert_eq!(transfer.end, End::EndedByTap);
}

#[tokio::test(start_paused = true)]
async fn a_tap_is_shown_what_throttles_let_pass_and_meters_hear_of_it() {
    /// Lets two bytes pass at a time.
    #[derive(Default)]
    struct Two(Mutex<[i64; 2]>);

    impl Throttle for Two {
        fn take(&self, _: Direction, want: u64) -> Grant {
            self.0.lock().unwrap()[0] += 2;
            Grant::Bytes(want.min(2))
        }

        fn give_back(&self, _: Direction, bytes: u64) {
            self.0.lock().unwrap()[0] -= i64::try_from(bytes).unwrap();
        }
    }

    impl Meter for Two {
        fn record(&self, _: Direction, bytes: u64) {
            self.0.lock().unwrap()[1] += i64::try_from(bytes).unwrap();
        }
    }

    let (mut policy, notes) = tapped([3, 0]);
    let two = Arc::new(Two::default());
    policy.add_throttle(Arc::clone(&two));
    policy.add_meter(Arc::clone(&two));
    let (mut client, mut target, tunnel) = join_with(policy, b"");
    client.write_all(b"abcdefg").await.unwrap();
    expect(&mut target, b"abcdefg").await;
    let up = |bytes: &[u8]| (Direction::Up, bytes.to_vec());
    assert_eq!(*notes.lock().unwrap(), [up(b"ab"), up(b"c")]);
    drop((client, target));
    tunnel.await.unwrap();
    assert_eq!(*two.0.lock().unwrap(), [7, 7]);
}

#[tokio::test]
async fn a_tap_that_wants_much_is_shown_all_of_it() {
    let (policy, notes) = tapped([0, 300_000]);
    let (mut client, mut target, _tunnel) = join_with(policy, b"");
    let sent: Vec<u8> = (0..=250).cycle().take(400_000).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        target.write_all(&sent).await.unwrap();
        target
    });
    expect(&mut client, &expected).await;
    let _target = sending.await.unwrap();
    assert!(seen(&notes, Direction::Down) == expected[..300_000]);
}

/// Holds back what comes up until there is a full stop or an exclamation mark, in
/// the first ten bytes.
fn holding() -> Policy {
    struct Holds;

    impl Tap for Holds {
        fn wants(&self, direction: Direction) -> usize {
            [10, 0][direction as usize]
        }

        fn look(&mut self, _: Direction, bytes: &[u8]) -> Look {
            match bytes.last() {
                Some(b'.') => Look::Enough,
                Some(b'!') => Look::End,
                _ => Look::Hold,
            }
        }
    }

    let mut policy = Policy::new();
    policy.add_tap(Holds);
    policy
}

/// Until what was written has come as far as it will.
async fn settled() {
    tokio::time::sleep(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_tap_holds_back_passes_once_it_says_so() {
    let (mut client, mut target, tunnel) = join_with(holding(), b"ea");
    for piece in ["r", "ly"] {
        client.write_all(piece.as_bytes()).await.unwrap();
        let heard = tokio::time::timeout(SECOND, target.read_u8()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
    // The other direction is nobody's business.
    target.write_all(b"hello").await.unwrap();
    expect(&mut client, b"hello").await;
    client.write_all(b".").await.unwrap();
    settled().await;
    client.write_all(b" more").await.unwrap();
    expect(&mut target, b"early. more").await;
    drop((client, target));
    let transfer = tunnel.await.unwrap();
    assert_eq!((transfer.up, transfer.end), (11, End::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_target_hears_nothing_of_what_is_held_back_and_ended() {
    for (early, then) in [("ea", "rly!"), ("", "this!"), ("", "more than ten")] {
        let (mut client, mut target, tunnel) = join_with(holding(), early.as_bytes());
        for piece in then.as_bytes().chunks(2) {
            let _ = client.write_all(piece).await;
            settled().await;
        }
        expect_end(&mut target).await;
        let transfer = tunnel.await.unwrap();
        assert_eq!((transfer.up, transfer.end), (0, End::EndedByTap), "{then}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_when_its_direction_ends_passes() {
    for early in ["half", ""] {
        let (mut client, mut target, tunnel) = join_with(holding(), early.as_bytes());
        client.write_all(b" a w").await.unwrap();
        settled().await;
        client.shutdown().await.unwrap();
        expect(&mut target, format!("{early} a w").as_bytes()).await;
        expect_end(&mut target).await;
        drop(target);
        assert_eq!(tunnel.await.unwrap().end, End::Closed);
    }
}
