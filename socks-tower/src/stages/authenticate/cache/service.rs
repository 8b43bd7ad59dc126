use std::{
    fmt,
    future::{Ready, ready},
    io,
    sync::Arc,
};

use tokio::time::Instant;
use tokio_util::either::Either;
use tower_service::Service;

use super::store::{Flight, Known, Landed, Store};
use crate::{
    session::{BoxError, BoxWork, Work, always_ready, opaque_future},
    stages::authenticate::{Admitted, Attempt, IntoAdmitted},
};

/// Remembers for a while whom `V` has let in. See the
/// [module's page](crate::stages::authenticate::cache).
#[derive(Clone)]
pub struct AuthCache<V> {
    pub(super) store: Arc<Store>,
    pub(super) verifier: V,
}

impl<V> AuthCache<V> {
    /// Forgets everybody, in all clones: users have changed. What is being asked is not
    /// remembered either.
    pub fn clear(&self) {
        self.store.clear();
    }

    /// The verifier.
    pub fn get_ref(&self) -> &V {
        &self.verifier
    }
}

impl<V: fmt::Debug> fmt::Debug for AuthCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthCache")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

opaque_future! {
    /// The future of [`AuthCache`].
    AuthCacheFuture<> -> Result<Admitted, BoxError>
        = Either<Ready<Result<Admitted, BoxError>>, BoxWork<Admitted>>
}

impl<V> Service<Attempt> for AuthCache<V>
where
    V: Work<Attempt, Response: IntoAdmitted>,
{
    type Response = Admitted;
    type Error = BoxError;
    type Future = AuthCacheFuture;

    always_ready!();

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let verifier = self.verifier.clone();
        let known = self
            .store
            .fingerprint(&attempt)
            .map(|it| self.store.get(it));
        AuthCacheFuture::new(match known {
            Some(Known::Fresh(kept)) => Either::Left(ready(Ok(kept.into()))),
            Some(Known::Asking(flight)) => Either::Right(Box::pin(join(flight, verifier, attempt))),
            None => Either::Right(Box::pin(ask(verifier, attempt))),
        })
    }
}

async fn ask<V>(verifier: V, attempt: Attempt) -> Result<Admitted, BoxError>
where
    V: Work<Attempt, Response: IntoAdmitted>,
{
    Ok(verifier.run(attempt).await?.into_admitted())
}

/// Asks for all who wait, or waits for the one who does. If that one hangs up, the next
/// asks.
async fn join<V>(flight: Flight, verifier: V, attempt: Attempt) -> Result<Admitted, BoxError>
where
    V: Work<Attempt, Response: IntoAdmitted>,
{
    let mut own = None;
    let asking = ask(verifier.clone(), attempt.clone());
    let landing = async {
        let asked = Instant::now();
        let answered = asking.await;
        let landed = flight.land(asked, &answered);
        own = Some(answered);
        landed
    };
    let landed = flight.verdict.get_or_init(|| landing).await.clone();
    match (own, landed) {
        (Some(Ok(admitted)), _) => Ok(admitted),
        (_, Landed::LetIn(kept)) => Ok(kept.into()),
        (Some(Err(error)), _) => Err(error),
        (None, Landed::Outage(error)) => Err(io::Error::other(&*error).into()),
        (None, Landed::Ask) => ask(verifier, attempt).await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use socks_core::Credentials;
    use tokio::{
        io::{BufStream, duplex},
        time::{advance, sleep, timeout},
    };
    use tower::{ServiceBuilder, service_fn};
    use tower_layer::Layer;

    use super::*;
    use crate::{
        session::{Identity, Session, is_outage},
        stages::authenticate::{AuthenticateLayer, WrongCredentials, cache::AuthCacheLayer},
        test_support::{CONNECT, negotiate, script},
    };

    const TTL: Duration = Duration::from_secs(60);
    const LITTLE: Duration = Duration::from_millis(1);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Mood {
        /// The password is the name, backwards.
        Well,
        Refusing,
        Down,
    }

    /// A back end that takes a second, counts, and has moods.
    #[derive(Clone)]
    struct BackEnd {
        asked: Arc<AtomicUsize>,
        mood: Arc<Mutex<Mood>>,
    }

    impl BackEnd {
        fn new() -> Self {
            Self {
                asked: Arc::default(),
                mood: Arc::new(Mutex::new(Mood::Well)),
            }
        }

        fn is_now(&self, mood: Mood) {
            *self.mood.lock().unwrap() = mood;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }

        fn behind(&self, cache: AuthCacheLayer) -> AuthCache<impl Verifier> {
            let Self { asked, mood } = self.clone();
            cache.layer(service_fn(move |attempt: Attempt| {
                asked.fetch_add(1, Ordering::Relaxed);
                let mood = *mood.lock().unwrap();
                async move {
                    sleep(Duration::from_secs(1)).await;
                    let name = attempt.credentials.username.to_str().unwrap();
                    let password = name.bytes().rev().collect::<Vec<_>>();
                    match mood {
                        Mood::Down => Err(BoxError::from(io::Error::other("down"))),
                        Mood::Well if attempt.credentials.password.as_bytes() == password => {
                            Ok(Identity::new(name))
                        }
                        Mood::Well | Mood::Refusing => Err(WrongCredentials::new().into()),
                    }
                }
            }))
        }
    }

    trait Verifier: Work<Attempt, Response: IntoAdmitted> {}
    impl<V: Work<Attempt, Response: IntoAdmitted>> Verifier for V {}

    fn from(ip: &str, name: &str, password: &str) -> Attempt {
        let session =
            Session::new().with_client_addr((ip.parse::<std::net::IpAddr>().unwrap(), 1).into());
        Attempt::new(session, Credentials::new(name, password).unwrap())
    }

    async fn lets_in<V: Verifier>(cache: &AuthCache<V>, name: &str, password: &str) -> bool {
        let attempt = from("192.0.2.1", name, password);
        match cache.clone().run(attempt).await {
            Ok(admitted) => admitted.identity().map(Identity::as_str) == Some(name),
            Err(_) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_its_time_from_when_it_was_asked_for() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        assert!(lets_in(&cache, "joe", "eoj").await);
        back_end.is_now(Mood::Refusing);

        // A second has passed.
        advance(TTL - Duration::from_secs(1) - LITTLE).await;
        assert!(lets_in(&cache, "joe", "eoj").await);
        assert_eq!(back_end.asked(), 1);

        advance(LITTLE).await;
        assert!(!lets_in(&cache, "joe", "eoj").await);
        assert_eq!(back_end.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_very_same_is_known_and_a_refusal_never_is() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        assert!(lets_in(&cache, "joe", "eoj").await);
        let others = [("joe", "eo"), ("joee", "oj"), ("jo", "eeoj"), ("joe", "")];
        for (name, password) in [others, others].concat() {
            let let_in = lets_in(&cache, name, password).await;
            assert!(!let_in, "{name:?} {password:?}");
        }
        assert_eq!(back_end.asked(), 1 + 2 * others.len());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_at_once_one_asks() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let cache = cache.clone();
            crowd.spawn(async move { lets_in(&cache, "joe", "eoj").await });
        }
        assert!(crowd.join_all().await.into_iter().all(|it| it));
        assert_eq!(back_end.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_is_refused_waits_for_two_questions_and_not_for_each_other() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        let begun = Instant::now();
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let cache = cache.clone();
            crowd.spawn(async move { lets_in(&cache, "joe", "no").await });
        }
        assert!(!crowd.join_all().await.into_iter().any(|it| it));
        assert!(begun.elapsed() <= Duration::from_secs(2) + 2 * LITTLE);
        assert!(cache.store.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_whose_question_meets_an_outage_hears_of_it_at_once() {
        // Each asked again by itself, and waited for twice the time-out.
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        back_end.is_now(Mood::Down);
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let attempt = from("192.0.2.1", "joe", "eoj");
            crowd.spawn(cache.clone().run(attempt));
        }
        for verdict in crowd.join_all().await {
            let error = verdict.unwrap_err();
            assert!(is_outage(&*error) && error.to_string() == "down", "{error}");
        }
        assert_eq!(back_end.asked(), 1);
        assert!(cache.store.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn if_the_one_who_asks_hangs_up_the_next_asks() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        let half = Duration::from_millis(500);
        let first = timeout(half, lets_in(&cache, "joe", "eoj"));
        let (first, second) = tokio::join!(first, lets_in(&cache, "joe", "eoj"));
        assert!(first.is_err() && second);
        assert_eq!(back_end.asked(), 2);

        // And if all hang up, nothing is left of it.
        let gone = timeout(half, lets_in(&cache, "ann", "nna")).await;
        assert!(gone.is_err());
        cache.clear();
        let gone = timeout(half, lets_in(&cache, "ann", "nna")).await;
        assert!(gone.is_err() && cache.store.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cleared_away_is_asked_about_and_is_not_put_back_by_an_older_question() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        assert!(lets_in(&cache, "joe", "eoj").await);
        cache.clear();
        assert!(cache.store.is_empty());

        let clears = async {
            sleep(LITTLE).await;
            cache.clear();
        };
        let (before, ()) = tokio::join!(lets_in(&cache, "joe", "eoj"), clears);
        assert!(before && cache.store.is_empty());
        back_end.is_now(Mood::Refusing);
        assert!(!lets_in(&cache, "joe", "eoj").await);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_back_end_is_down_nobody_is_let_in_who_is_not_remembered() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL));
        assert!(lets_in(&cache, "joe", "eoj").await);
        back_end.is_now(Mood::Down);
        assert!(!lets_in(&cache, "ann", "nna").await);
        assert!(lets_in(&cache, "joe", "eoj").await);
        advance(TTL).await;
        assert!(!lets_in(&cache, "joe", "eoj").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_answer_stands_in_for_a_back_end_that_is_down_and_for_no_refusal() {
        let back_end = BackEnd::new();
        let stale = AuthCacheLayer::new(TTL).with_stale(3 * TTL);
        let cache = back_end.behind(stale);
        assert!(lets_in(&cache, "joe", "eoj").await);
        assert!(lets_in(&cache, "ann", "nna").await);
        back_end.is_now(Mood::Down);
        advance(TTL).await;

        // One asks in vain, and then nobody for half a minute.
        for _ in 0..3 {
            assert!(lets_in(&cache, "joe", "eoj").await);
            assert!(!lets_in(&cache, "joe", "no").await);
        }
        assert_eq!(back_end.asked(), 2 + 1 + 3);
        advance(Duration::from_secs(31)).await;
        assert!(lets_in(&cache, "joe", "eoj").await);
        assert_eq!(back_end.asked(), 2 + 1 + 3 + 1);

        back_end.is_now(Mood::Refusing);
        assert!(!lets_in(&cache, "ann", "nna").await);
        back_end.is_now(Mood::Down);
        assert!(!lets_in(&cache, "ann", "nna").await);
        assert!(lets_in(&cache, "joe", "eoj").await);

        advance(3 * TTL).await;
        assert!(!lets_in(&cache, "joe", "eoj").await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_be_forgotten_first_makes_room() {
        let back_end = BackEnd::new();
        let cache = back_end.behind(AuthCacheLayer::new(TTL).with_capacity(2));
        for name in ["a", "b", "c"] {
            assert!(lets_in(&cache, name, name).await);
        }
        assert_eq!(back_end.asked(), 3);
        assert!(lets_in(&cache, "c", "c").await && lets_in(&cache, "b", "b").await);
        assert_eq!(back_end.asked(), 3);
        assert!(lets_in(&cache, "a", "a").await);
        assert_eq!(back_end.asked(), 4);

        let nothing = back_end.behind(AuthCacheLayer::new(TTL).with_capacity(0));
        assert!(lets_in(&nothing, "a", "a").await && lets_in(&nothing, "a", "a").await);
        assert_eq!(back_end.asked(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_s_address_is_part_of_it_if_it_shall() {
        for (layer, asked) in [
            (AuthCacheLayer::new(TTL), 1),
            (AuthCacheLayer::new(TTL).per_client(), 2),
        ] {
            let back_end = BackEnd::new();
            let cache = back_end.behind(layer);
            for ip in ["192.0.2.1", "2001:db8::1", "192.0.2.1"] {
                let attempt = from(ip, "joe", "eoj");
                assert!(cache.clone().run(attempt).await.is_ok());
            }
            assert_eq!(back_end.asked(), asked);
        }
    }

    #[tokio::test]
    async fn what_else_is_known_is_remembered_and_a_stream_that_is_wrapped_is_not() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let verifier = service_fn(move |attempt: Attempt| {
            count.fetch_add(1, Ordering::Relaxed);
            let joe = Admitted::from(Identity::new("joe")).with_extension(7_u8);
            let wraps = attempt.credentials.password.as_bytes() == b"wrap";
            let admitted = if wraps {
                joe.with_wrap(BufStream::new)
            } else {
                joe
            };
            ready(Ok::<_, BoxError>(admitted))
        });
        let cache = AuthCacheLayer::new(TTL).layer(verifier);
        for (password, so_far) in [("plain", 1), ("plain", 1), ("wrap", 2), ("wrap", 3)] {
            let attempt = from("192.0.2.1", "joe", password);
            let admitted = cache.clone().run(attempt).await.unwrap();
            assert_eq!(admitted.extensions().get(), Some(&7_u8));
            assert_eq!(admitted.wraps(), password == "wrap");
            let (mut session, (io, _)) = (Session::new(), duplex(1));
            let by = socks_core::v5::Method::USERNAME_PASSWORD.into();
            admitted.enter(by, &mut session, &mut vec![], io);
            assert_eq!(session.identity.as_ref().map(Identity::as_str), Some("joe"));
            assert_eq!(asked.load(Ordering::Relaxed), so_far);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_within_is_an_outage_and_the_client_hears_a_refusal() {
        let never = service_fn(|_: Attempt| std::future::pending::<Result<Identity, BoxError>>());
        let verifier = ServiceBuilder::new()
            .layer(AuthCacheLayer::new(TTL))
            .timeout(Duration::from_secs(2))
            .service(never);
        let io = script()
            .read(b"\x05\x01\x02\x01\x03joe\x03eoj")
            .write(b"\x05\x02")
            .write(b"\x01\x01")
            .build();
        let error = negotiate(AuthenticateLayer::password(verifier), io).await;
        assert!(is_outage(&error.unwrap_err()));

        let back_end = BackEnd::new();
        let verifier = back_end.behind(AuthCacheLayer::new(TTL));
        let io = script()
            .read(b"\x05\x01\x02\x01\x03joe\x03eoj")
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .read(CONNECT)
            .build();
        negotiate(AuthenticateLayer::password(verifier), io)
            .await
            .unwrap();
    }
}
