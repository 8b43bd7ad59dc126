//! Pools of upstreams that do what they are told, in paused time.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    io,
    net::Ipv4Addr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use socks_core::{
    Target,
    v5::{Command, ReplyCode},
};
use tokio::{
    io::{DuplexStream, duplex},
    time::{Instant, advance, sleep, timeout},
};
use tower::ServiceExt;
use tower_service::Service;

use super::*;
use crate::session::{
    BoxError, BoxWork, DialError, Error, ErrorKind, Identity, NameSuffix, Outbound, Refusal,
    Request, Session, always_ready,
};

const SECOND: Duration = Duration::from_secs(1);

/// What an upstream does.
#[derive(Clone, Copy, Debug)]
enum Does {
    Connect,
    ConnectAfter(Duration),
    Hang,
    /// Others it serves.
    HangForPort(u16),
    Break,
    Say(ReplyCode),
    /// It dials the target itself.
    FailToDial,
    Deny,
}

/// An upstream, and the handle to it.
#[derive(Clone)]
struct Upstream {
    does: Arc<Mutex<Does>>,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    fn that(does: Does) -> Self {
        Self {
            does: Arc::new(Mutex::new(does)),
            asked: Arc::default(),
        }
    }

    fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// How often it was asked since this was asked last.
    fn asked(&self) -> usize {
        self.asked.swap(0, Relaxed)
    }
}

impl Service<Request> for Upstream {
    type Response = DuplexStream;
    type Error = BoxError;
    type Future = BoxWork<DuplexStream>;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let does = *self.does.lock().unwrap();
        self.asked.fetch_add(1, Relaxed);
        Box::pin(async move {
            match does {
                Does::Connect => {}
                Does::ConnectAfter(time) => sleep(time).await,
                Does::HangForPort(port) if port != request.target.port => {}
                Does::Hang | Does::HangForPort(_) => std::future::pending().await,
                Does::Break => return Err("broken".into()),
                Does::Say(code) => return Err(Refusal::with(code, "says so").into()),
                Does::FailToDial => {
                    return Err(DialError::from(io::ErrorKind::ConnectionRefused).into());
                }
                Does::Deny => return Err(Error::bare(ErrorKind::Denied).into()),
            }
            Ok(duplex(1).0)
        })
    }
}

/// A pool of these, with names from `a`.
fn pool<const N: usize>(does: [Does; N]) -> (UpstreamPool<Upstream>, [Upstream; N]) {
    let upstreams = does.map(Upstream::that);
    let pool = UpstreamPool::new();
    for (name, upstream) in ('a'..).zip(&upstreams) {
        pool.insert(name.to_string(), upstream.clone());
    }
    (pool, upstreams)
}

fn request() -> Request {
    of(Session::new())
}

fn of(session: Session) -> Request {
    let target = "example.com:80".parse().unwrap();
    Request::new(session, Command::CONNECT, target)
}

type Answer = Result<Outbound<DuplexStream>, BoxError>;

async fn ask(pool: &UpstreamPool<Upstream>) -> Answer {
    pool.clone().oneshot(request()).await
}

/// What the client hears.
fn code(answer: Answer) -> u8 {
    answer.map_or_else(
        |error| Error::of_work(ErrorKind::Connect, error).reply().0,
        |_| 0,
    )
}

fn out(pool: &UpstreamPool<Upstream>) -> Vec<bool> {
    pool.upstreams().iter().map(|it| it.is_out).collect()
}

fn live(pool: &UpstreamPool<Upstream>) -> Vec<usize> {
    pool.upstreams().iter().map(|it| it.live).collect()
}

#[tokio::test]
async fn a_tunnel_counts_until_it_ends_and_the_least_loaded_of_two_is_taken() {
    let (pool, _) = pool([Does::Connect, Does::Connect]);
    let mut tunnels = Vec::new();
    for _ in 0..20 {
        tunnels.push(ask(&pool).await.unwrap());
    }
    assert_eq!(live(&pool), [10, 10]);
    drop(tunnels.split_off(5));
    assert_eq!(live(&pool).iter().sum::<usize>(), 5);
    drop(tunnels);
    assert_eq!(live(&pool), [0, 0]);
}

#[tokio::test]
async fn none_is_left_out_however_many_there_are() {
    let (pool, upstreams) = pool([Does::Connect; 16]);
    for _ in 0..1000 {
        ask(&pool).await.unwrap();
    }
    for upstream in &upstreams {
        let asked = upstream.asked();
        assert!((30..120).contains(&asked), "{asked} of 1000 / 16");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_to_connect_is_taken_less_often() {
    let (pool, [quick, slow]) = pool([Does::Connect, Does::ConnectAfter(SECOND)]);
    let tunnels: Vec<_> = (0..100)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { drop(ask(&pool).await.unwrap()) })
        })
        .collect();
    for tunnel in tunnels {
        tunnel.await.unwrap();
    }
    let (quick, slow) = (quick.asked(), slow.asked());
    assert!(slow < quick / 4, "{slow} of the slow, {quick} of the quick");
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_to_another_upstream_at_once() {
    let (pool, upstreams) = pool([Does::Break, Does::Break, Does::Break, Does::Connect]);
    let began = Instant::now();
    for _ in 0..50 {
        assert!(ask(&pool).await.is_ok());
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(out(&pool), [true, true, true, false]);
    let asked: Vec<_> = upstreams.iter().map(Upstream::asked).collect();
    assert_eq!(asked, [3, 3, 3, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_try_has_half_of_the_time_and_all_tries_together_have_the_whole() {
    let (pool, [hung, _]) = pool([Does::Hang, Does::ConnectAfter(4 * SECOND)]);
    loop {
        let began = Instant::now();
        assert!(ask(&pool).await.is_ok());
        if hung.asked() == 1 {
            assert_eq!(began.elapsed(), 9 * SECOND);
            break;
        }
    }

    let (pool, upstreams) = self::pool([Does::Hang; 3]);
    let began = Instant::now();
    assert_eq!(code(ask(&pool).await), 6);
    assert_eq!(began.elapsed(), 10 * SECOND);
    assert_eq!(upstreams.iter().map(Upstream::asked).sum::<usize>(), 2);

    // Whatever was lost on one that broke is not there for the next.
    let (pool, [breaks, slow, _]) = self::pool([Does::Hang; 3]);
    breaks.now(Does::Break);
    slow.now(Does::ConnectAfter(6 * SECOND));
    let began = Instant::now();
    assert_eq!(code(ask(&pool).await), 6);
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lone_upstream_has_all_of_the_time_and_is_not_tried_twice() {
    let (pool, [lone]) = pool([Does::ConnectAfter(9 * SECOND)]);
    assert!(ask(&pool).await.is_ok());
    assert_eq!(lone.asked(), 1);

    lone.now(Does::Break);
    assert_eq!(code(ask(&pool).await), 1);
    assert_eq!(lone.asked(), 1);

    lone.now(Does::Hang);
    let began = Instant::now();
    assert_eq!(code(ask(&pool).await), 6);
    assert_eq!((lone.asked(), began.elapsed()), (1, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn where_none_is_left_the_answer_is_there_at_once() {
    let began = Instant::now();
    let (empty, []) = pool([]);
    assert_eq!(code(ask(&empty).await), 1);

    let (pool, [one, other]) = pool([Does::Break; 2]);
    for _ in 0..3 {
        assert_eq!(code(ask(&pool).await), 1);
    }
    assert_eq!((one.asked(), other.asked()), (3, 3));
    let error = ask(&pool).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(PoolError::NoneLeft)));
    assert_eq!(code(Err(error)), 1);
    assert_eq!((one.asked(), other.asked()), (0, 0));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_did_not_answer_is_to_blame_only_if_another_connects() {
    // A target that nobody reaches puts nobody out.
    let (pool, [_, other]) = pool([Does::Hang; 2]);
    for _ in 0..10 {
        assert_eq!(code(ask(&pool).await), 6);
    }
    assert_eq!(out(&pool), [false, false]);

    other.now(Does::Connect);
    for _ in 0..40 {
        assert!(ask(&pool).await.is_ok());
    }
    assert_eq!(out(&pool), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_answers_some_upstreams_alone_puts_out_none_that_serves_others() {
    let (pool, _) = pool([Does::HangForPort(81), Does::Connect]);
    let mut requests = Vec::new();
    for _ in 0..100 {
        for port in [80, 80, 81, 81, 81, 81, 81, 81, 81, 81] {
            let target: Target = format!("example.com:{port}").parse().unwrap();
            let request = request().with_target(target);
            requests.push(tokio::spawn(pool.clone().oneshot(request)));
        }
        sleep(SECOND / 2).await;
        assert_eq!(out(&pool), [false, false]);
    }
    for request in requests {
        assert!(request.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn what_an_upstream_says_of_the_target_is_passed_on_and_puts_nobody_out() {
    for said in [1, 2, 3, 4, 5, 6, 7, 8, 0xf0, 0xf7] {
        let (pool, upstreams) = pool([Does::Say(ReplyCode(said)); 4]);
        for _ in 0..10 {
            assert_eq!(code(ask(&pool).await), said);
        }
        assert_eq!(out(&pool), [false; 4]);
        let asked = upstreams.iter().map(Upstream::asked).sum::<usize>() / 10;
        let expected = match said {
            7 | 8 => 4,
            1 | 3 | 4 | 6 => 2,
            _ => 1,
        };
        assert_eq!(asked, expected, "{said}");
    }
    for (does, said, tries) in [(Does::FailToDial, 5, 2), (Does::Deny, 2, 1)] {
        let (pool, upstreams) = pool([does; 4]);
        for _ in 0..10 {
            assert_eq!(code(ask(&pool).await), said);
        }
        assert_eq!(out(&pool), [false; 4]);
        let asked = upstreams.iter().map(Upstream::asked).sum::<usize>();
        assert_eq!(asked, 10 * tries, "{does:?}");
    }
}

#[tokio::test]
async fn what_one_cannot_do_goes_to_one_that_can() {
    let unable = Does::Say(ReplyCode::COMMAND_NOT_SUPPORTED);
    let (pool, _) = pool([unable, unable, Does::Connect, Does::Break]);
    for _ in 0..20 {
        assert!(ask(&pool).await.is_ok());
    }
    assert!(matches!(out(&pool)[..], [false, false, false, _]));
}

#[tokio::test(start_paused = true)]
async fn the_error_that_says_most_of_the_target_is_the_one_that_is_heard() {
    let says = Does::Say(ReplyCode::HOST_UNREACHABLE);
    let unable = Does::Say(ReplyCode::COMMAND_NOT_SUPPORTED);
    for (does, expected) in [
        ([says, Does::Break], 4),
        ([says, Does::Hang], 4),
        ([Does::Break, Does::Hang], 6),
        ([unable, Does::Break], 1),
    ] {
        let (pool, _) = pool(does);
        for _ in 0..2 {
            assert_eq!(code(ask(&pool).await), expected, "{does:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_out_is_tried_by_one_request_after_a_pause_that_grows() {
    let (pool, [one, other]) = pool([Does::Break, Does::Connect]);
    while !out(&pool)[0] {
        ask(&pool).await.unwrap();
    }
    one.asked();
    for pause in [5, 10, 20, 30, 30] {
        advance(pause * SECOND - Duration::from_millis(1)).await;
        for _ in 0..20 {
            ask(&pool).await.unwrap();
        }
        assert_eq!(one.asked(), 0, "before {pause} s");
        advance(Duration::from_millis(1)).await;
        for _ in 0..20 {
            ask(&pool).await.unwrap();
        }
        assert_eq!(one.asked(), 1, "after {pause} s");
    }
    one.now(Does::Connect);
    advance(60 * SECOND).await;
    other.asked();
    while one.asked() == 0 {
        ask(&pool).await.unwrap();
    }
    assert_eq!(out(&pool), [false, false]);
    // From the beginning again.
    one.now(Does::Break);
    while !out(&pool)[0] {
        ask(&pool).await.unwrap();
    }
    one.asked();
    advance(5 * SECOND).await;
    for _ in 0..20 {
        ask(&pool).await.unwrap();
    }
    assert_eq!(one.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_one_is_on_trial_nobody_else_tries_it_and_a_client_that_hangs_up_ends_it() {
    let (pool, [lone]) = pool([Does::Break]);
    for _ in 0..3 {
        assert!(ask(&pool).await.is_err());
    }
    advance(5 * SECOND).await;
    lone.now(Does::Hang);
    lone.asked();
    let trial = tokio::spawn({
        let pool = pool.clone();
        async move { ask(&pool).await }
    });
    tokio::task::yield_now().await;
    for _ in 0..3 {
        assert!(ask(&pool).await.is_err());
    }
    assert_eq!(lone.asked(), 1);

    trial.abort();
    assert!(trial.await.is_err());
    lone.now(Does::Connect);
    assert!(ask(&pool).await.is_ok());
    assert_eq!(out(&pool), [false]);
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_was_not_asked_about_says_nothing_of_it() {
    let (pool, [lone]) = pool([Does::Break]);
    for does in [Does::Deny, Does::FailToDial] {
        for _ in 0..2 {
            lone.now(Does::Break);
            assert!(ask(&pool).await.is_err());
            lone.now(does);
            assert!(ask(&pool).await.is_err());
        }
        lone.now(Does::Break);
        assert!(ask(&pool).await.is_err());
        assert_eq!(out(&pool), [true], "{does:?}");

        advance(5 * SECOND).await;
        lone.now(does);
        assert!(ask(&pool).await.is_err());
        assert_eq!(out(&pool), [true], "{does:?}");
        lone.now(Does::Connect);
        assert!(ask(&pool).await.is_ok());
        assert_eq!(out(&pool), [false]);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_put_out_and_bring_back_and_cost_no_request() {
    let (pool, [one, _]) = pool([Does::Connect, Does::Connect]);
    let probed = pool.clone();
    let target: Target = "probe.example:80".parse().unwrap();
    let probes = tokio::spawn(async move { probed.probe(target, 2 * SECOND).await });

    for does in [
        Does::Break,
        Does::Hang,
        Does::Say(ReplyCode::HOST_UNREACHABLE),
    ] {
        one.now(does);
        sleep(60 * SECOND).await;
        assert_eq!(out(&pool), [true, false], "{does:?}");
        let began = Instant::now();
        for _ in 0..100 {
            ask(&pool).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);

        // That a target refuses, a proxy that works has found out.
        one.now(Does::Say(ReplyCode::CONNECTION_REFUSED));
        sleep(10 * SECOND).await;
        assert_eq!(out(&pool), [false, false], "after {does:?}");
        one.now(Does::Connect);
    }
    assert_eq!(live(&pool), [0, 0]);

    // Without them, requests do it.
    one.now(Does::Break);
    sleep(60 * SECOND).await;
    probes.abort();
    assert!(probes.await.is_err());
    one.now(Does::Connect);
    one.asked();
    advance(60 * SECOND).await;
    while one.asked() == 0 {
        ask(&pool).await.unwrap();
    }
    assert_eq!(out(&pool), [false, false]);
}

/// Which upstream the request goes to.
async fn chosen(pool: &UpstreamPool<Upstream>, session: Session) -> Option<Arc<str>> {
    let tunnel = pool.clone().oneshot(of(session)).await.ok()?;
    let status = pool.upstreams();
    drop(tunnel);
    let it = status.into_iter().find(|it| it.live > 0)?;
    Some(it.name)
}

fn user(number: usize) -> Session {
    Session::new().with_identity(Identity::new(format!("user-{number}")))
}

#[tokio::test]
async fn ten_thousand_keys_keep_to_their_upstreams_and_share_them_evenly() {
    let (pool, upstreams) = pool([Does::Connect; 4]);
    let pool = pool.with_sticky(Sticky::identity());
    let mut first = HashMap::new();
    for number in 0..10_000 {
        first.insert(number, chosen(&pool, user(number)).await.unwrap());
    }
    for name in ["a", "b", "c", "d"] {
        let share = first.values().filter(|it| ***it == *name).count();
        assert!((2200..2800).contains(&share), "{name} has {share}");
    }

    // Those of one that is out go to all others; the others' stay.
    upstreams[0].now(Does::Break);
    let mut moved = HashSet::new();
    for number in 0..10_000 {
        let now = chosen(&pool, user(number)).await.unwrap();
        let before = &first[&number];
        match **before == *"a" {
            true => drop(moved.insert(now)),
            false => assert_eq!(now, *before),
        }
    }
    assert_eq!(moved.len(), 3);

    // And come back.
    upstreams[0].now(Does::Connect);
    pool.insert("a", upstreams[0].clone());
    for number in 0..10_000 {
        assert_eq!(
            chosen(&pool, user(number)).await.as_ref(),
            first.get(&number)
        );
    }
}

#[tokio::test]
async fn a_client_an_identity_and_a_suffix_keep_to_one_each() {
    let at = |ip: [u8; 4]| Session::new().with_client_addr((Ipv4Addr::from(ip), 1).into());
    let suffixed = |name: &str, suffix: &str| {
        let mut session = Session::new().with_identity(name.into());
        session.extensions.insert(NameSuffix::new(suffix));
        session
    };
    let (clients, _) = pool([Does::Connect; 16]);
    let clients = clients.with_sticky(Sticky::client());
    let (suffixes, _) = pool([Does::Connect; 16]);
    let suffixes = suffixes.with_sticky(Sticky::suffix());
    for number in 0..20 {
        let client = || at([192, 0, 2, number]);
        let first = chosen(&clients, client()).await;
        let suffix = || suffixed("joe", &number.to_string());
        let second = chosen(&suffixes, suffix()).await;
        for _ in 0..3 {
            assert_eq!(chosen(&clients, client()).await, first);
            assert_eq!(chosen(&suffixes, suffix()).await, second);
        }
    }
    // Different suffixes and users, different upstreams; none, any.
    let mut of_users = HashSet::new();
    let mut of_none = HashSet::new();
    for number in 0..40 {
        of_users.insert(chosen(&suffixes, suffixed(&number.to_string(), "1")).await);
        of_none.insert(chosen(&suffixes, user(1)).await);
    }
    assert!(of_users.len() > 8 && of_none.len() > 8);
}

#[tokio::test]
async fn what_is_discovered_is_added_and_removed() {
    let (pool, [upstream]) = pool([Does::Connect]);
    struct Changes<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Changes<I> {
        type Item = Result<I::Item, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next().map(Ok))
        }
    }

    let changes = [
        Change::Insert("b", upstream.clone()),
        Change::Insert("c", upstream.clone()),
        Change::Remove("a"),
        Change::Insert("b", upstream),
    ];
    pool.follow(Changes(changes.into_iter())).await.unwrap();
    let names: Vec<_> = pool.upstreams().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["c", "b"].map(Arc::from));
}

/// No upstream is lost of a pool of four, whatever becomes of three of them.
#[tokio::test(start_paused = true)]
async fn under_load_no_request_is_lost_to_one_killed_one_hung_and_one_slow() {
    let (pool, [_, killed, hung, slow]) = pool([Does::Connect; 4]);
    let lost = Arc::new(AtomicUsize::new(0));
    let longest = Arc::new(Mutex::new(Vec::new()));
    let load = async |seconds: u32| {
        let mut requests = Vec::new();
        for _ in 0..seconds * 100 {
            let (pool, lost, longest) = (pool.clone(), lost.clone(), longest.clone());
            requests.push(tokio::spawn(async move {
                let began = Instant::now();
                match ask(&pool).await {
                    Ok(tunnel) => {
                        longest.lock().unwrap().push(began.elapsed());
                        sleep(SECOND).await;
                        drop(tunnel);
                    }
                    Err(_) => drop(lost.fetch_add(1, Relaxed)),
                }
            }));
            sleep(SECOND / 100).await;
        }
        for request in requests {
            request.await.unwrap();
        }
        let longest = longest.lock().unwrap().drain(..).max();
        (lost.swap(0, Relaxed), longest.unwrap_or_default())
    };
    assert_eq!(load(10).await, (0, Duration::ZERO));

    killed.now(Does::Break);
    hung.now(Does::Hang);
    slow.now(Does::ConnectAfter(SECOND));
    let (lost, longest) = load(20).await;
    assert_eq!(lost, 0, "longest: {longest:?}");
    assert_eq!(out(&pool), [false, true, true, false]);
    let (lost, longest) = load(120).await;
    assert_eq!(lost, 0);
    // A trial of the hung one, then the slow one.
    assert!(longest <= 6 * SECOND, "{longest:?}");

    for upstream in [&killed, &hung, &slow] {
        upstream.now(Does::Connect);
        upstream.asked();
    }
    assert!(timeout(60 * SECOND, load(50)).await.is_ok());
    assert_eq!(out(&pool), [false; 4]);
    let (lost, longest) = load(10).await;
    assert_eq!((lost, longest), (0, Duration::ZERO));
    for upstream in [&killed, &hung, &slow] {
        assert!(upstream.asked() > 100);
    }
    assert_eq!(live(&pool), [0; 4]);
}
