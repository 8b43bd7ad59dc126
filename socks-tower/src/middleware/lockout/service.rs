use std::{
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{LockoutLayer, layer::Ledger};
use crate::{
    middleware::{
        admission::{Admission, Admitted},
        shows::Shows,
    },
    session::{BoxError, ClientKey, Error, Session},
};

/// Asks the verifier `S`, unless the client is locked out. See the
/// [module's page](crate::middleware::lockout).
#[derive(Debug)]
pub struct Lockout<S, K = ClientKey, Seen = Session> {
    pub(super) lockout: LockoutLayer<K, Seen>,
    pub(super) inner: S,
}

impl<S: Clone, K, Seen> Clone for Lockout<S, K, Seen> {
    fn clone(&self) -> Self {
        Self {
            lockout: self.lockout.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<T, S, K, Seen> Service<T> for Lockout<S, K, Seen>
where
    T: Shows<Seen> + Send + 'static,
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = LockoutFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, attempt: T) -> Self::Future {
        let key = self.lockout.key(attempt.shown());
        let ledger = self.lockout.ledger();
        let state = match key.as_ref().map(|key| ledger.count.check(key)) {
            Some(Err(locked_out)) => State::LockedOut {
                error: Some(locked_out),
            },
            Some(Ok(())) | None => State::Asking {
                inner: self.inner.call(attempt),
                noted: key.map(|key| (key, ledger.clone())),
            },
        };
        LockoutFuture { state }
    }
}

pin_project! {
    /// The future of [`Lockout`].
    #[must_use = "futures do nothing unless polled"]
    pub struct LockoutFuture<F, K = ClientKey> {
        #[pin]
        state: State<F, K>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, K> {
        Asking { #[pin] inner: F, noted: Option<(K, Ledger<K>)> },
        LockedOut { error: Option<Error> },
    }
}

impl<F, R, E, K> Future for LockoutFuture<F, K>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
    K: Clone + Eq + Hash,
{
    type Output = Result<R, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Asking { inner, noted } => {
                let verdict = ready!(inner.poll(cx)).map_err(Into::into);
                if let Some((key, ledger)) = noted {
                    ledger.note(key, &verdict);
                }
                Poll::Ready(verdict)
            }
            StateProjection::LockedOut { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => Poll::Pending,
            },
        }
    }
}

impl<F, K> fmt::Debug for LockoutFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockoutFuture(..)")
    }
}

/// Goes on to `S`, unless the client is locked out. See the
/// [module's page](crate::middleware::lockout).
#[derive(Debug)]
pub struct LockoutGate<S, K = ClientKey, Seen = Session> {
    pub(super) lockout: LockoutLayer<K, Seen>,
    pub(super) inner: S,
}

impl<S: Clone, K, Seen> Clone for LockoutGate<S, K, Seen> {
    fn clone(&self) -> Self {
        Self {
            lockout: self.lockout.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<T, S, K, Seen> Service<T> for LockoutGate<S, K, Seen>
where
    T: Shows<Seen> + Send + 'static,
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = LockoutGateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::passed)
    }

    fn call(&mut self, passing: T) -> Self::Future {
        let count = &self.lockout.ledger().count;
        let key = self.lockout.key(passing.shown());
        let admission = match key.map(|key| count.check(&key)) {
            Some(Err(locked_out)) => Admission::Refused(locked_out),
            Some(Ok(())) | None => Admission::Admitted(()),
        };
        LockoutGateFuture {
            admitted: admission.enter(&mut self.inner, passing),
        }
    }
}

pin_project! {
    /// The future of [`LockoutGate`].
    #[must_use = "futures do nothing unless polled"]
    pub struct LockoutGateFuture<F> {
        #[pin]
        admitted: Admitted<F, ()>,
    }
}

impl<F, R, E> Future for LockoutGateFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().admitted.poll(cx)
    }
}

impl<F> fmt::Debug for LockoutGateFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockoutGateFuture(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::{
        future::ready,
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use socks_core::{Credentials, v4::UserId};
    use tokio::time::{advance, sleep};
    use tower::{ServiceBuilder, ServiceExt, service_fn};
    use tower_layer::Layer;

    use super::*;
    use crate::{
        middleware::lockout::LockedOut,
        session::{Accepted, Error, ErrorKind, Identity, Session},
        stages::authenticate::{Attempt, AuthenticateLayer, Users},
        test_support::{negotiate_from, script},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// Two failures lock out for 10 seconds.
    fn lockout() -> LockoutLayer {
        LockoutLayer::new()
            .with_max_failures(NonZeroU32::new(2).unwrap())
            .with_first_lock(10 * SECOND)
            .with_longest_lock(60 * SECOND)
    }

    fn from(ip: &str) -> Session {
        Session::new().with_client_addr((ip.parse::<std::net::IpAddr>().unwrap(), 1).into())
    }

    fn users() -> Users {
        Users::new().with("joe", "good").unwrap()
    }

    /// Negotiates as a SOCKS5 client does, and checks what it hears.
    async fn socks5(
        auth: &AuthenticateLayer,
        ip: &str,
        password: &[u8; 4],
        lets_in: bool,
    ) -> Result<(), Error> {
        let mut io = script();
        io.read(b"\x05\x01\x02\x01\x03joe\x04")
            .read(password)
            .write(b"\x05\x02")
            .write(if lets_in { b"\x01\x00" } else { b"\x01\x01" });
        if lets_in {
            io.read(crate::test_support::CONNECT);
        }
        let accepted = Accepted::new(io.build(), from(ip));
        negotiate_from(auth.clone(), accepted).await.map(drop)
    }

    fn is_locked_out(result: Result<(), Error>) -> bool {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
        error.causes().any(|cause| cause.is::<LockedOut>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_guesses_is_locked_out_in_the_method_s_words() {
        let auth = AuthenticateLayer::password(lockout().layer(users()));
        let (foe, friend) = ("2001:db8::1", "192.0.2.1");
        for _ in 0..2 {
            assert!(!is_locked_out(socks5(&auth, foe, b"evil", false).await));
        }

        let neighbour = "2001:db8::2";
        for _ in 0..3 {
            let right = socks5(&auth, neighbour, b"good", false).await;
            assert!(is_locked_out(right), "though the password is right");
        }
        socks5(&auth, friend, b"good", true).await.unwrap();

        advance(10 * SECOND).await;
        assert!(!is_locked_out(socks5(&auth, foe, b"evil", false).await));
        advance(19 * SECOND).await;
        assert!(is_locked_out(socks5(&auth, foe, b"good", false).await));
        advance(SECOND).await;
        socks5(&auth, foe, b"good", true).await.unwrap();
        assert!(!is_locked_out(socks5(&auth, foe, b"evil", false).await));
        socks5(&auth, foe, b"good", true).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_clears_the_failures() {
        let auth = AuthenticateLayer::password(lockout().layer(users()));
        for _ in 0..5 {
            assert!(!is_locked_out(
                socks5(&auth, "192.0.2.1", b"evil", false).await
            ));
            socks5(&auth, "192.0.2.1", b"good", true).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn socks4_and_socks5_count_together_and_socks4_hears_91() {
        let lockout = lockout();
        let nobody = service_fn(|_: Attempt<UserId>| ready(Err::<Identity, _>("no")));
        let auth = AuthenticateLayer::password(lockout.layer(users()))
            .with_user_ids(lockout.layer(nobody));
        let socks4 = || {
            let io = script()
                .read(b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00")
                .write(b"\x00\x5b\0\0\0\0\0\0")
                .build();
            let accepted = Accepted::new(io, from("192.0.2.1"));
            let auth = auth.clone();
            async move { negotiate_from(auth, accepted).await.map(drop) }
        };
        assert!(!is_locked_out(socks4().await));
        assert!(!is_locked_out(
            socks5(&auth, "192.0.2.1", b"evil", false).await
        ));

        assert!(is_locked_out(socks4().await));
        assert!(is_locked_out(
            socks5(&auth, "192.0.2.1", b"good", false).await
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn the_verifier_is_not_asked_about_a_client_that_is_locked_out() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let verifier = lockout().layer(service_fn(move |_: Attempt| {
            count.fetch_add(1, Ordering::Relaxed);
            ready(Err::<Identity, _>("no"))
        }));
        let auth = AuthenticateLayer::password(verifier);
        for _ in 0..5 {
            let _ = socks5(&auth, "192.0.2.1", b"evil", false).await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_verifier_that_breaks_locks_nobody_out() {
        let broken =
            || service_fn(|_: Attempt| ready(Err::<Identity, _>(io::Error::other("no database"))));
        let slow = service_fn(|_: Attempt| async {
            sleep(2 * SECOND).await;
            Err::<Identity, _>("no")
        });
        let slow = ServiceBuilder::new().timeout(SECOND).service(slow);
        for auth in [
            AuthenticateLayer::password(lockout().layer(broken())),
            AuthenticateLayer::password(lockout().layer(slow)),
        ] {
            for _ in 0..5 {
                assert!(!is_locked_out(
                    socks5(&auth, "192.0.2.1", b"good", false).await
                ));
            }
        }

        let strict = lockout().with_counted(|_| true).layer(broken());
        let auth = AuthenticateLayer::password(strict);
        for _ in 0..2 {
            assert!(!is_locked_out(
                socks5(&auth, "192.0.2.1", b"good", false).await
            ));
        }
        assert!(is_locked_out(
            socks5(&auth, "192.0.2.1", b"good", false).await
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_by_a_limit_locks_nobody_out() {
        let limited = service_fn(|_: Attempt| {
            let error = Error::new(ErrorKind::Limited, "too many");
            ready(Err::<Identity, _>(error))
        });
        let auth = AuthenticateLayer::password(lockout().layer(limited));
        for _ in 0..5 {
            let error = socks5(&auth, "192.0.2.1", b"good", false).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Limited);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn by_its_name_an_account_is_locked_out_wherever_attempts_come_from() {
        let lockout = LockoutLayer::by(|attempt: &Attempt| {
            let name = attempt.credentials.username.clone();
            (name.as_bytes() != b"root").then_some(name)
        });
        let two = NonZeroU32::new(2).unwrap();
        let lockout = lockout.with_max_failures(two).with_first_lock(10 * SECOND);
        let users = users()
            .with("ann", "good")
            .unwrap()
            .with("root", "good")
            .unwrap();
        let verifier = lockout.layer(users);
        let attempt = |ip, name, password| {
            let credentials = Credentials::new(name, password).unwrap();
            let attempt = Attempt::new(from(ip), credentials);
            let verifier = verifier.clone();
            async move { verifier.oneshot(attempt).await }
        };
        for (ip, name) in [
            ("192.0.2.1", "joe"),
            ("192.0.2.2", "joe"),
            ("192.0.2.3", "root"),
            ("192.0.2.3", "root"),
        ] {
            let error = attempt(ip, name, "evil").await.unwrap_err();
            assert!(!error.is::<Error>());
        }

        let error = attempt("192.0.2.9", "joe", "good").await.unwrap_err();
        assert!(is_locked_out(Err(*error.downcast().unwrap())));
        attempt("192.0.2.1", "ann", "good").await.unwrap();
        attempt("192.0.2.3", "root", "good").await.unwrap();
        advance(10 * SECOND).await;
        attempt("192.0.2.9", "joe", "good").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn clients_without_an_address_are_never_locked_out() {
        let mut verifier = lockout().layer(users());
        for _ in 0..5 {
            let credentials = Credentials::new("joe", "evil").unwrap();
            let session = Session::new();
            let attempt = Attempt {
                session,
                credentials,
            };
            let error = verifier
                .ready()
                .await
                .unwrap()
                .call(attempt)
                .await
                .unwrap_err();
            assert!(!error.is::<Error>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_turns_away_those_that_are_locked_out() {
        let lockout = lockout();
        let auth = AuthenticateLayer::password(lockout.layer(users()));
        let gate = |ip| {
            let inner = service_fn(|_: Accepted<()>| ready(Ok::<_, io::Error>("passed")));
            let accepted = Accepted::new((), from(ip));
            lockout.gate().layer(inner).oneshot(accepted)
        };
        assert_eq!(gate("192.0.2.1").await.unwrap(), "passed");
        for _ in 0..2 {
            let _ = socks5(&auth, "192.0.2.1", b"evil", false).await;
        }

        let error = gate("192.0.2.1").await.unwrap_err();
        assert!(is_locked_out(Err(error)));
        assert_eq!(gate("192.0.2.2").await.unwrap(), "passed");

        advance(10 * SECOND).await;
        assert_eq!(gate("192.0.2.1").await.unwrap(), "passed");
    }
}
