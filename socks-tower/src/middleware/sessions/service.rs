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
use crate::session::{BoxError, Error, ErrorKind, Requested, Stream};

/// Enters sessions into a list, and goes on to `S`. See the
/// [module's page](crate::middleware::sessions).
#[derive(Clone, Debug)]
pub struct Register<S> {
    pub(super) sessions: Sessions,
    pub(super) inner: S,
}

impl<Io, S> Service<Requested<Io>> for Register<S>
where
    Io: Stream,
    S: Service<Requested<Io>, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = RegisterFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::passed)
    }

    fn call(&mut self, mut requested: Requested<Io>) -> Self::Future {
        let state = match self.sessions.enter(&mut requested.request) {
            Some(entry) => State::Entered {
                inner: self.inner.call(requested),
                ended: entry.live.ended.clone().cancelled_owned(),
                entry,
            },
            None => State::Refused {
                refusing: Box::pin(async move {
                    let error = Error::new(ErrorKind::Denied, Banned);
                    requested.client.refuse(error).await
                }),
            },
        };
        RegisterFuture { state }
    }
}

/// Why a session is not entered.
#[derive(Debug, thiserror::Error)]
#[error("such sessions are banned")]
struct Banned;

pin_project! {
    /// The future of [`Register`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RegisterFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Entered {
            #[pin]
            inner: F,
            #[pin]
            ended: WaitForCancellationFutureOwned,
            // Dropped last: what is off the list has closed its connections.
            entry: Entry,
        },
        Refused { refusing: Pin<Box<dyn Future<Output = Error> + Send>> },
    }
}

impl<F, R, E> Future for RegisterFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Entered { inner, ended, .. } => {
                if ended.poll(cx).is_ready() {
                    return Poll::Ready(Err(Error::bare(ErrorKind::Ended)));
                }
                inner.poll(cx).map_err(Error::passed)
            }
            StateProjection::Refused { refusing } => refusing.as_mut().poll(cx).map(Err),
        }
    }
}

impl<F> fmt::Debug for RegisterFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegisterFuture(..)")
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
        middleware::sessions::{LiveSession, RegisterLayer, Sessions},
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
        let outcome = stack.oneshot(requested(io, b"", request));
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
                (who, live.target().to_string(), live.age().as_secs())
            })
            .collect();
        let expected = [
            ("joe".to_owned(), "a.example:1".to_owned(), 2),
            ("ann".to_owned(), "b.example:2".to_owned(), 1),
        ];
        assert_eq!(told, expected);
        assert_eq!(list[0].command(), Command::CONNECT);
        assert!(list[0].since() <= list[1].since());

        drop(joe);
        joes.await.unwrap().unwrap();
        assert_eq!(sessions.len(), 1);
        assert!(sessions.get(list[0].id()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_can_be_ended_and_the_others_go_on() {
        let sessions = Sessions::new();
        let (mut joe, joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        let (mut ann, _anns) = begin(&sessions, service_fn(echo), request("ann", "b.example:2"));
        let mut granted = [0; 10];
        joe.read_exact(&mut granted).await.unwrap();
        ann.read_exact(&mut granted).await.unwrap();
        let id = sessions.list()[0].id();

        assert!(sessions.end(id));

        let error = joes.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ended);
        assert_eq!(joe.read(&mut granted).await.unwrap(), 0, "closed");
        assert_eq!(sessions.len(), 1);
        assert!(!sessions.end(id));
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

    /// Whether the request is joe's.
    fn is_joe(request: &Request) -> bool {
        let identity = request.session.identity.as_ref();
        identity.is_some_and(|identity| identity.as_str() == "joe")
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_ends_those_that_live_and_refuses_those_that_come_until_it_is_lifted() {
        let sessions = Sessions::new();
        let (_joe, joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        let (_ann, _anns) = begin(&sessions, service_fn(echo), request("ann", "b.example:2"));
        sleep(SECOND).await;

        let ban = sessions.ban(is_joe);

        let error = joes.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ended);
        assert_eq!(sessions.len(), 1);
        let (mut joe, joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        let mut reply = Vec::new();
        joe.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply[..2], [5, 2]);
        drop(joe);
        assert_eq!(joes.await.unwrap().unwrap_err().kind(), ErrorKind::Denied);

        drop(ban);
        let (mut joe, _joes) = begin(&sessions, service_fn(echo), request("joe", "a.example:1"));
        joe.read_exact(&mut reply[..10]).await.unwrap();
        assert_eq!(reply[..2], [5, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_meant_are_ended_and_counted() {
        let sessions = Sessions::new();
        let begin = |who, target| begin(&sessions, service_fn(echo), request(who, target));
        let all = [
            begin("joe", "a:1"),
            begin("ann", "b:1"),
            begin("joe", "c:1"),
        ];
        sleep(SECOND).await;
        let joes = |live: &LiveSession| live.session().identity == Some("joe".into());
        assert_eq!(sessions.end_where(joes), 2);
        sleep(SECOND).await;
        assert_eq!(sessions.len(), 1);
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_comes_to_a_list_twice_is_listed_once() {
        let sessions = Sessions::new();
        let (_client, io) = duplex(64);
        let stack = ServiceBuilder::new()
            .layer(RegisterLayer::new(sessions.clone()))
            .layer(RegisterLayer::new(sessions.clone()))
            .layer(ConnectLayer::new(service_fn(echo)))
            .service(Relay::new());
        let asked = requested(io, b"", request("joe", "a.example:1"));
        let session = tokio::spawn(stack.oneshot(asked));
        sleep(SECOND).await;
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions.end_where(|_| true), 1);
        assert!(session.await.unwrap().is_err());
        assert!(sessions.is_empty());
    }
}
