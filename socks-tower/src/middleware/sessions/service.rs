use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower_service::Service;

use super::{Sessions, registry::Entry};
use crate::session::{BoxError, Error, ErrorKind, Requested};

/// Enters sessions into a list, and goes on to `S`. See the
/// [module's page](crate::middleware::sessions).
#[derive(Clone, Debug)]
pub struct Register<S> {
    pub(super) sessions: Sessions,
    pub(super) inner: S,
}

impl<Io, S> Service<Requested<Io>> for Register<S>
where
    S: Service<Requested<Io>, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RegisterFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut requested: Requested<Io>) -> Self::Future {
        let entry = self.sessions.enter(&mut requested.request);
        RegisterFuture {
            inner: self.inner.call(requested),
            ended: entry.live.ended.clone().cancelled_owned(),
            entry,
        }
    }
}

pin_project! {
    /// The future of [`Register`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RegisterFuture<F> {
        #[pin]
        inner: F,
        #[pin]
        ended: WaitForCancellationFutureOwned,
        // Dropped last: what is off the list has closed its connections.
        entry: Entry,
    }
}

impl<F, R, E> Future for RegisterFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.ended.poll(cx).is_ready() {
            return Poll::Ready(Err(Error::bare(ErrorKind::Ended).into()));
        }
        this.inner.poll(cx).map_err(Into::into)
    }
}

impl<F> fmt::Debug for RegisterFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterFuture")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
        time::{advance, sleep},
    };
    use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

    use socks_core::v5::Command;

    use crate::{
        middleware::sessions::{RegisterLayer, SessionId, Sessions},
        session::{
            Connector, Error, ErrorKind, Identity, Request, Session, Transfer,
            policy::{Direction, Grant, Throttle},
        },
        stages::{connect::ConnectLayer, relay::Relay},
        test_support::{Stop, requested},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn request(who: &str, target: &str) -> Request {
        let session = Session::new().with_identity(Identity::new(who));
        Request::new(session, Command::CONNECT, target.parse().unwrap())
    }

    /// Begins a session; gives the client's end.
    fn begin(
        sessions: &Sessions,
        connector: impl Connector<Request>,
        request: Request,
    ) -> (DuplexStream, JoinHandle<Result<Transfer, Error>>) {
        let (client, io) = duplex(64);
        let stack = ServiceBuilder::new()
            .layer(RegisterLayer::new(sessions.clone()))
            .layer(ConnectLayer::new(connector))
            .service(Relay::new());
        let outcome = async move {
            let outcome = stack.oneshot(requested(io, b"", request)).await;
            outcome.map_err(Error::from_box)
        };
        (client, tokio::spawn(outcome))
    }

    /// Says back what it hears.
    async fn echo(_: Request) -> Result<DuplexStream, Infallible> {
        let (near, far) = duplex(64);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            tokio::io::copy(&mut read, &mut write).await
        });
        Ok(near)
    }

    #[tokio::test(start_paused = true)]
    async fn who_where_to_and_since_when_until_it_ends() {
        let sessions = Sessions::new();
        let (joe, joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        sleep(SECOND).await;
        let (_ann, _anns) = begin(&sessions, service_fn(echo), request("ann", "b.example:2"));
        sleep(SECOND).await;

        let list = sessions.list();

        let told: Vec<_> = list
            .iter()
            .map(|live| {
                let who = live.session().identity.clone().unwrap().to_string();
                (
                    live.id().get(),
                    who,
                    live.target().to_string(),
                    live.age().as_secs(),
                )
            })
            .collect();
        let expected = [
            (1, "joe".to_owned(), "a.example:1".to_owned(), 2),
            (2, "ann".to_owned(), "b.example:2".to_owned(), 1),
        ];
        assert_eq!(told, expected);
        assert_eq!(list[0].command(), Command::CONNECT);
        assert!(list[0].since() <= list[1].since());

        drop(joe);
        joes.await.unwrap().unwrap();
        assert_eq!(sessions.len(), 1);
        assert!(sessions.get(SessionId::new(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_can_be_ended_and_the_others_go_on() {
        let sessions = Sessions::new();
        let (mut joe, joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        let (mut ann, _anns) = begin(&sessions, service_fn(echo), request("ann", "b.example:2"));
        let mut granted = [0; 10];
        joe.read_exact(&mut granted).await.unwrap();
        ann.read_exact(&mut granted).await.unwrap();

        assert!(sessions.end(SessionId::new(1)));

        let error = joes.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ended);
        assert_eq!(joe.read(&mut granted).await.unwrap(), 0, "closed");
        assert_eq!(sessions.len(), 1);
        assert!(!sessions.end(SessionId::new(1)));
        ann.write_all(b"still here").await.unwrap();
        ann.read_exact(&mut granted).await.unwrap();
        assert_eq!(&granted, b"still here");
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_so_far_are_those_of_each_session() {
        let sessions = Sessions::new();
        let (mut joe, _joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        let (_ann, _anns) = begin(&sessions, service_fn(echo), request("ann", "b.example:2"));
        let mut heard = [0; 15];
        for so_far in [5, 10] {
            joe.write_all(b"hello").await.unwrap();
            let len = if so_far == 5 { 15 } else { 5 };
            joe.read_exact(&mut heard[..len]).await.unwrap();
            let [joes, anns] = &sessions.list()[..] else {
                panic!("two sessions");
            };
            assert_eq!(joes.bytes(Direction::Up), so_far);
            assert_eq!(joes.bytes(Direction::Down), so_far);
            assert_eq!(anns.bytes(Direction::Up), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_still_connects_is_listed_and_can_be_ended() {
        let sessions = Sessions::new();
        let stuck = |_: Request| std::future::pending::<Result<DuplexStream, Infallible>>();
        let (mut joe, joes) = begin(&sessions, service_fn(stuck), request("joe", "a.example:1"));
        advance(SECOND).await;

        sessions.list()[0].end();

        assert_eq!(joes.await.unwrap().unwrap_err().kind(), ErrorKind::Ended);
        let mut heard = Vec::new();
        joe.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"", "no reply");
        assert!(sessions.is_empty());
    }

    #[tokio::test]
    async fn one_whose_future_is_dropped_is_off_the_list() {
        let sessions = Sessions::new();
        let (_client, io) = duplex(64);
        let mut stage = RegisterLayer::new(sessions.clone()).layer(Stop);
        let requested = requested(io, b"", request("joe", "a.example:1"));
        let future = tower_service::Service::call(&mut stage, requested);
        assert_eq!(sessions.len(), 1);

        drop(future);

        assert!(sessions.is_empty());
    }

    struct Unlimited;

    impl Throttle for Unlimited {
        fn take(&self, _: Direction, want: u64) -> Grant {
            Grant::Bytes(want)
        }

        fn give_back(&self, _: Direction, _: u64) {}
    }

    #[tokio::test]
    async fn an_entry_that_is_kept_keeps_no_throttle() {
        let sessions = Sessions::new();
        let throttle = Arc::new(Unlimited);
        let held = Arc::downgrade(&throttle);
        let mut request = request("joe", "a.example:1");
        request.session.policy.add_throttle(throttle);
        let (mut joe, joes) = begin(&sessions, service_fn(echo), request);
        let mut granted = [0; 10];
        joe.read_exact(&mut granted).await.unwrap();
        let kept = sessions.list();
        assert_eq!(held.strong_count(), 1, "the relay holds it");

        drop(joe);
        joes.await.unwrap().unwrap();

        assert_eq!(held.strong_count(), 0);
        assert_eq!(kept.len(), 1);
    }

    #[tokio::test]
    async fn an_error_within_stays_what_it_is() {
        let sessions = Sessions::new();
        let refusing = |_: Request| async { Err::<DuplexStream, _>("no") };
        let (joe, joes) = begin(
            &sessions,
            service_fn(refusing),
            request("joe", "a.example:1"),
        );
        drop(joe);

        let error = joes.await.unwrap().unwrap_err();

        assert!(matches!(
            error.kind(),
            ErrorKind::Connect | ErrorKind::ClientGone
        ));
        assert!(sessions.is_empty());
    }
}
