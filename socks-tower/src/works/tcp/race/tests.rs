use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::time::{Instant, timeout};

use super::*;

/// What a scripted address does.
#[derive(Clone, Copy)]
enum Outcome {
    /// Answers after so many milliseconds.
    Answers(u64),
    /// Fails after so many milliseconds.
    Fails(u64),
    /// Never says anything.
    Hangs,
}
use Outcome::{Answers, Fails, Hangs};

/// Dials by script; notes when each attempt started and how many are alive.
#[derive(Clone)]
struct Script {
    script: Rc<Vec<(SocketAddr, Outcome)>>,
    begun: Instant,
    starts: Rc<RefCell<Vec<(SocketAddr, u64)>>>,
    alive: Rc<Cell<usize>>,
}

struct Alive(Rc<Cell<usize>>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Script {
    fn new(script: &[(&str, Outcome)]) -> Self {
        Self {
            script: Rc::new(script.iter().map(|(a, o)| (addr(a), *o)).collect()),
            begun: Instant::now(),
            starts: Rc::default(),
            alive: Rc::default(),
        }
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.script.iter().map(|(addr, _)| *addr).collect()
    }

    async fn race(&self, race: Race) -> Result<SocketAddr, Vec<(SocketAddr, &'static str)>> {
        race.run(&self.addrs(), |addr| self.clone().dial(addr))
            .await
    }

    async fn dial(self, addr: SocketAddr) -> Result<SocketAddr, &'static str> {
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        self.starts.borrow_mut().push((addr, at));
        self.alive.set(self.alive.get() + 1);
        let _alive = Alive(self.alive.clone());
        let (_, outcome) = self.script.iter().find(|(a, _)| *a == addr).unwrap();
        match *outcome {
            Answers(after) => {
                sleep(Duration::from_millis(after)).await;
                Ok(addr)
            }
            // Fails within the first poll, as ENETUNREACH does.
            Fails(0) => Err("failed"),
            Fails(after) => {
                sleep(Duration::from_millis(after)).await;
                Err("failed")
            }
            Hangs => std::future::pending().await,
        }
    }

    fn starts(&self) -> Vec<(String, u64)> {
        let starts = self.starts.borrow();
        starts.iter().map(|(a, at)| (a.to_string(), *at)).collect()
    }
}

fn addr(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

fn at(starts: &[(&str, u64)]) -> Vec<(String, u64)> {
    starts.iter().map(|(a, t)| ((*a).to_owned(), *t)).collect()
}

const A4: &str = "192.0.2.1:80";
const B4: &str = "192.0.2.2:80";
const C4: &str = "192.0.2.3:80";
const A6: &str = "[2001:db8::1]:80";
const B6: &str = "[2001:db8::2]:80";

#[test]
fn families_take_turns_and_keep_their_order() {
    let order = |addrs: &[&str]| -> Vec<String> {
        let addrs: Vec<_> = addrs.iter().map(|a| addr(a)).collect();
        interleaved(&addrs).map(|a| a.to_string()).collect()
    };
    assert_eq!(order(&[A6, B6, A4, B4, C4]), [A6, A4, B6, B4, C4]);
    assert_eq!(order(&[A4, B4, C4, A6, B6]), [A4, A6, B4, B6, C4]);
    assert_eq!(order(&[A4, A6, B6]), [A4, A6, B6]);
    assert_eq!(order(&[C4, A4, B4]), [C4, A4, B4]);
    assert_eq!(order(&[]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_costs_one_delay() {
    let script = Script::new(&[(A6, Hangs), (A4, Answers(20)), (B4, Answers(0))]);
    assert_eq!(script.race(Race::new()).await, Ok(addr(A4)));
    assert_eq!(script.starts(), at(&[(A6, 0), (A4, 250)]));
    assert_eq!(script.begun.elapsed().as_millis(), 270);
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_attempt_at_once() {
    let script = Script::new(&[(A6, Fails(0)), (A4, Fails(30)), (B4, Answers(5))]);
    assert_eq!(script.race(Race::new()).await, Ok(addr(B4)));
    assert_eq!(script.starts(), at(&[(A6, 0), (A4, 0), (B4, 30)]));
}

#[tokio::test(start_paused = true)]
async fn the_delay_counts_from_the_latest_start() {
    let script = Script::new(&[(A4, Fails(100)), (B4, Hangs), (C4, Answers(0))]);
    assert_eq!(script.race(Race::new()).await, Ok(addr(C4)));
    assert_eq!(script.starts(), at(&[(A4, 0), (B4, 100), (C4, 350)]));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_attempt_that_fails_hurries_nothing() {
    let script = Script::new(&[(A4, Fails(300)), (B4, Hangs), (C4, Answers(0))]);
    assert_eq!(script.race(Race::new()).await, Ok(addr(C4)));
    assert_eq!(script.starts(), at(&[(A4, 0), (B4, 250), (C4, 500)]));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_attempt_may_still_win() {
    let script = Script::new(&[(A6, Answers(400)), (A4, Answers(200)), (B6, Hangs)]);
    assert_eq!(script.race(Race::new()).await, Ok(addr(A6)));
    assert_eq!(script.begun.elapsed().as_millis(), 400);
}

#[tokio::test(start_paused = true)]
async fn winning_drops_the_other_attempts() {
    let script = Script::new(&[(A4, Hangs), (B4, Hangs), (C4, Answers(1))]);
    assert_eq!(script.race(Race::new()).await, Ok(addr(C4)));
    assert_eq!(script.starts().len(), 3);
    assert_eq!(script.alive.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_race_drops_every_attempt() {
    let script = Script::new(&[(A4, Hangs), (B4, Hangs), (C4, Hangs)]);
    let race = timeout(Duration::from_secs(60), script.race(Race::new()));
    assert!(race.await.is_err());
    assert_eq!(script.starts(), at(&[(A4, 0), (B4, 250), (C4, 500)]));
    assert_eq!(script.alive.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_failure_is_reported_in_the_order_of_failing() {
    let script = Script::new(&[(A4, Fails(600)), (B4, Fails(10)), (A6, Fails(0))]);
    let failures = script.race(Race::new()).await.unwrap_err();
    let order: Vec<_> = failures.iter().map(|(a, _)| a.to_string()).collect();
    assert_eq!(order, [A6, B4, A4]);
    assert_eq!(script.begun.elapsed().as_millis(), 600);
}

#[tokio::test(start_paused = true)]
async fn no_more_addresses_are_tried_than_allowed() {
    let script = Script::new(&[(A4, Fails(0)), (B4, Fails(0)), (A6, Fails(0)), (B6, Hangs)]);
    let failures = script.race(Race::new().with_max_attempts(3)).await;
    assert_eq!(failures.unwrap_err().len(), 3);
    assert_eq!(script.starts(), at(&[(A4, 0), (A6, 0), (B4, 0)]));
}

#[tokio::test(start_paused = true)]
async fn an_address_behind_sixteen_dead_ones_is_reached_within_five_seconds() {
    let addrs: Vec<_> = (1..=20).map(|n| format!("192.0.2.{n}:80")).collect();
    let script: Vec<_> = addrs.iter().map(|addr| (&**addr, Hangs)).collect();
    for dead in [16, 19] {
        let mut script = script[..=dead].to_vec();
        script[dead].1 = Answers(0);
        let script = Script::new(&script);
        assert_eq!(script.race(Race::new()).await, Ok(addr(&addrs[dead])));
        let took = script.begun.elapsed();
        assert_eq!(took, Race::DEFAULT_DELAY * u32::try_from(dead).unwrap());
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_are_alive_than_may_be_at_once() {
    let addrs: Vec<_> = (1..=40).map(|n| format!("192.0.2.{n}:80")).collect();
    let script: Vec<_> = addrs.iter().map(|addr| (&**addr, Hangs)).collect();
    let script = Script::new(&script);
    let race = timeout(Duration::from_secs(20), script.race(Race::new()));
    let most = async {
        sleep(Duration::from_secs(15)).await;
        script.alive.get()
    };
    let (raced, most) = tokio::join!(race, most);
    assert!(raced.is_err());
    assert_eq!(most, Race::MAX_AT_ONCE);
    assert_eq!(script.starts().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn the_delay_has_a_floor() {
    let script = Script::new(&[(A4, Hangs), (B4, Answers(0))]);
    let race = Race::new().with_delay(Duration::ZERO);
    assert_eq!(script.race(race).await, Ok(addr(B4)));
    assert_eq!(script.starts(), at(&[(A4, 0), (B4, 10)]));
}

#[tokio::test(start_paused = true)]
async fn the_longest_delay_tries_one_address_after_the_other() {
    let script = Script::new(&[(A4, Fails(90_000)), (B4, Answers(0))]);
    let race = Race::new().with_delay(Duration::MAX);
    assert_eq!(script.race(race).await, Ok(addr(B4)));
    assert_eq!(script.starts(), at(&[(A4, 0), (B4, 90_000)]));
}

#[test]
fn one_address_needs_no_timer() {
    // No runtime at all: a timer would panic.
    let addrs = [addr(A4)];
    let mut race = pin!(Race::new().run(&addrs, |addr| async move { Ok::<_, ()>(addr) }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(race.as_mut().poll(&mut cx), Poll::Ready(Ok(addrs[0])));
}

#[tokio::test]
async fn no_address_is_no_failure_to_report() {
    let none = Race::new().run(&[], |_| async { Ok::<(), ()>(()) }).await;
    assert_eq!(none, Err(Vec::new()));
}
