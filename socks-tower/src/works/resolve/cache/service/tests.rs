use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use socks_core::v5::Command;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{session::Session, works::resolve::CacheLayer};

const SECOND: Duration = Duration::from_secs(1);

fn ip(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(number).into()
}

fn asked(name: &str) -> Request<DomainName> {
    let name = DomainName::new(name).unwrap();
    Request::new(Session::new(), Command::CONNECT, name)
}

fn not_found(ttl: Option<Duration>) -> LookupError {
    let host = DomainName::new("db.example").unwrap().into();
    LookupError::NotFound { host, ttl }
}

fn failed() -> LookupError {
    let source = std::io::Error::other("SERVFAIL").into();
    let host = DomainName::new("db.example").unwrap().into();
    LookupError::Failed { host, source }
}

/// A resolver that answers by `answer`, which is told how often it was asked before;
/// and how often it was.
fn by<A, F>(
    answer: impl Fn(usize) -> F + Clone + Send + 'static,
) -> (
    impl Work<Request<DomainName>, Response = A>,
    Arc<AtomicUsize>,
)
where
    A: Send + 'static,
    F: Future<Output = Result<A, LookupError>> + Send,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolver = service_fn(move |_| answer(count.fetch_add(1, SeqCst)));
    (resolver, asked)
}

async fn first<R>(cache: &Cache<R>) -> Result<IpAddr, BoxError>
where
    Cache<R>: Service<Request<DomainName>, Response = Answer, Error = BoxError> + Clone,
{
    let answer = cache.clone().oneshot(asked("db.example")).await?;
    Ok(answer.addrs()[0])
}

/// The `n`th answer is address `n`, and holds for so long.
fn counting(
    ttl: Option<Duration>,
) -> impl Fn(usize) -> Ready<Result<Answer, LookupError>> + Clone + Send {
    move |n| ready(Ok(Answer::new([ip(u32::try_from(n).unwrap())], ttl)))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_for_as_long_as_it_says() {
    let (resolver, _) = by(counting(Some(SECOND * 60)));
    let cache = CacheLayer::new().layer(resolver);
    for (after, expected) in [(0, 0), (59, 0), (1, 1), (30, 1), (31, 2)] {
        advance(SECOND * after).await;
        assert_eq!(first(&cache).await.unwrap(), ip(expected), "{after}");
    }
    advance(SECOND * 20).await;
    let answer = cache.clone().oneshot(asked("DB.example")).await.unwrap();
    assert_eq!(answer.ttl(), Some(SECOND * 40));
}

#[tokio::test(start_paused = true)]
async fn what_holds_for_no_time_is_not_kept() {
    let (resolver, times) = by(counting(Some(Duration::ZERO)));
    let cache = CacheLayer::new().layer(resolver);
    for n in 0..3 {
        assert_eq!(first(&cache).await.unwrap(), ip(n));
    }
    assert_eq!(times.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn the_least_and_the_most_go_before_what_an_answer_says() {
    for (ttl, holds) in [(0, 5), (7, 7), (3600, 10)] {
        let (resolver, _) = by(counting(Some(SECOND * ttl)));
        let bounds = SECOND * 5..=SECOND * 10;
        let cache = CacheLayer::new().with_positive(bounds).layer(resolver);
        first(&cache).await.unwrap();
        advance(SECOND * holds - Duration::from_millis(1)).await;
        assert_eq!(first(&cache).await.unwrap(), ip(0), "{ttl}");
        advance(Duration::from_millis(1)).await;
        assert_eq!(first(&cache).await.unwrap(), ip(1), "{ttl}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_hold_for_ever_and_be_stale_after_that() {
    let (resolver, _) = by(counting(Some(Duration::MAX)));
    let cache = CacheLayer::new()
        .with_positive(Duration::ZERO..=Duration::MAX)
        .with_stale(Duration::MAX);
    let cache = cache.layer(resolver);
    for _ in 0..2 {
        assert_eq!(first(&cache).await.unwrap(), ip(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_addresses_is_kept_for_the_layer_s_time() {
    let (resolver, times) = by(|_| async { Ok(vec![ip(7)]) });
    let cache = CacheLayer::new().with_ttl(SECOND * 9).layer(resolver);
    for (after, expected) in [(0, 1), (8, 1), (1, 2)] {
        advance(SECOND * after).await;
        assert_eq!(first(&cache).await.unwrap(), ip(7));
        assert_eq!(times.load(SeqCst), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn that_a_name_has_no_address_is_kept_as_its_zone_says_and_a_failure_for_a_second() {
    type Fail = fn() -> LookupError;
    let cases: [(Fail, u64); 4] = [
        (|| not_found(Some(SECOND * 20)), 20),
        (|| not_found(Some(SECOND * 90_000)), 3600),
        (|| not_found(None), 30),
        (failed, 1),
    ];
    for (fail, holds) in cases {
        let (resolver, times) = by(move |_| async move { Err::<Answer, _>(fail()) });
        let cache = CacheLayer::new().layer(resolver);
        let told = first(&cache).await.unwrap_err().to_string();
        advance(Duration::from_secs(holds) - Duration::from_millis(1)).await;
        let again = first(&cache).await.unwrap_err();
        assert!(again.is::<LookupError>());
        assert_eq!(again.to_string(), told);
        assert_eq!(times.load(SeqCst), 1, "{told}");
        advance(Duration::from_millis(1)).await;
        first(&cache).await.unwrap_err();
        assert_eq!(times.load(SeqCst), 2, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_kind_is_not_kept() {
    let times = Arc::new(AtomicUsize::new(0));
    let count = times.clone();
    let resolver = service_fn(move |_| {
        count.fetch_add(1, SeqCst);
        async { Err::<Vec<IpAddr>, _>(BoxError::from("the database is down")) }
    });
    let cache = CacheLayer::new().layer(resolver);
    for _ in 0..3 {
        first(&cache).await.unwrap_err();
    }
    assert_eq!(times.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn it_remembers_no_more_than_it_may_and_forgets_the_soonest_to_go() {
    let resolver = service_fn(|request: Request<DomainName>| async move {
        let ttl = request.target.as_str().len();
        let ttl = SECOND * u32::try_from(ttl).unwrap();
        Ok::<_, Infallible>(Answer::new([ip(1)], Some(ttl)))
    });
    let cache = CacheLayer::new().with_capacity(2).layer(resolver);
    for name in ["four", "sixsix", "eighteig"] {
        cache.clone().oneshot(asked(name)).await.unwrap();
    }
    let known = |name: &str| !matches!(cache.store.get(&asked(name).target.into()), Known::Nothing);
    assert_eq!(
        ["four", "sixsix", "eighteig"].map(known),
        [false, true, true]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_with_a_dot_at_the_end_is_another_question() {
    let (resolver, times) = by(counting(Some(SECOND * 60)));
    let cache = CacheLayer::new().layer(resolver);
    for name in ["db", "db.", "DB", "DB."] {
        cache.clone().oneshot(asked(name)).await.unwrap();
    }
    assert_eq!(times.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn without_being_asked_to_it_gives_nothing_stale() {
    let (resolver, _) = by(|n| async move {
        match n {
            0 => Ok(Answer::new([ip(1)], Some(SECOND))),
            _ => Err(failed()),
        }
    });
    let cache = CacheLayer::new().layer(resolver);
    first(&cache).await.unwrap();
    advance(SECOND * 2).await;
    first(&cache).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_while_lookups_fail_and_at_once_for_half_a_minute() {
    let (resolver, times) = by(|n| async move {
        match n {
            0 => Ok(Answer::new([ip(1)], Some(SECOND))),
            1 => Err(failed()),
            // Slower than anybody waits.
            2 => {
                sleep(SECOND * 3).await;
                Ok(Answer::new([ip(2)], Some(SECOND * 60)))
            }
            _ => unreachable!(),
        }
    });
    let cache = CacheLayer::new().with_stale(SECOND * 3600).layer(resolver);
    first(&cache).await.unwrap();
    for (after, asked) in [(2, 2), (29, 2)] {
        advance(SECOND * after).await;
        assert_eq!(first(&cache).await.unwrap(), ip(1));
        assert_eq!(times.load(SeqCst), asked);
    }
    advance(SECOND * 2).await;
    let begun = Instant::now();
    assert_eq!(first(&cache).await.unwrap(), ip(1));
    assert_eq!(begun.elapsed(), PATIENCE);
    // The lookup went on meanwhile.
    sleep(SECOND * 2).await;
    assert_eq!(first(&cache).await.unwrap(), ip(2));
    assert_eq!(times.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_for_no_longer_than_may_be_and_not_for_a_name_that_is_gone() {
    let (resolver, _) = by(|n| async move {
        match n {
            0 | 2 => Ok(Answer::new([ip(1)], Some(SECOND))),
            1 => Err(failed()),
            _ => Err(not_found(Some(SECOND))),
        }
    });
    let cache = CacheLayer::new().with_stale(SECOND * 60).layer(resolver);
    first(&cache).await.unwrap();
    advance(SECOND * 61).await;
    first(&cache).await.unwrap_err();
    advance(SECOND).await;
    first(&cache).await.unwrap();
    advance(SECOND * 2).await;
    first(&cache).await.unwrap_err();
}
