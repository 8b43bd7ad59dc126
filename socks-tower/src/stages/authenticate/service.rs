use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use socks_core::{
    server::{self, Event, Version},
    v5::Method,
};
use tokio::io::AsyncWriteExt;
use tokio_util::either::Either;
use tower::timeout::error::Elapsed;
use tower_service::Service;

use super::{Admitted, Attempt, AuthMethod, AuthenticateLayer};
use crate::{
    session::{
        AuthenticatedBy, ClientStream, Error, ErrorKind, Greeted, Inbound, Negotiation, Offer,
        ReceiveError, Request, Requested, Session, Stage, StageFuture, Stream, always_ready,
        dismiss, opaque_future, receive, timeout_at, trace, watch::StageKind,
    },
    stages::handshake::unexpected,
};

/// Lets the client in and reads its request, then goes on to `S`. See the
/// [module's page](crate::stages::authenticate).
#[derive(Clone, Debug)]
pub struct Authenticate<S> {
    pub(super) config: AuthenticateLayer,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Authenticate`].
    AuthenticateFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Greeted<Io>> for Authenticate<S>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = AuthenticateFuture<S::Future>;

    always_ready!();

    fn call(&mut self, greeted: Greeted<Io>) -> Self::Future {
        let stage = trace::stage(StageKind::Authenticate, &greeted.session);
        let bounded = timeout_at(greeted.deadline, authenticate(&self.config, greeted));
        let admitting = stage.run_until(bounded, is_admitted);
        AuthenticateFuture::new(StageFuture::new(
            Admitting { admitting },
            self.inner.clone(),
        ))
    }
}

type InTime<T> = Result<Result<T, Error>, Elapsed>;

fn is_admitted<T>(admitted: &InTime<T>) -> bool {
    matches!(admitted, Ok(Ok(_)))
}

pin_project! {
    /// Tells of what becomes known of a client, once it is out of the stage's
    /// span.
    ///
    /// By hand: an async block would keep room for the whole twice.
    struct Admitting<F> {
        #[pin]
        admitting: F,
    }
}

impl<Io, F> Future for Admitting<F>
where
    F: Future<Output = InTime<Requested<Io>>>,
{
    type Output = Result<Requested<Io>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let requested = match ready!(self.project().admitting.poll(cx)) {
            Ok(requested) => requested?,
            Err(elapsed) => return Poll::Ready(Err(Error::new(ErrorKind::Deadline, elapsed))),
        };
        trace::requested(&requested.request);
        Poll::Ready(Ok(requested))
    }
}

fn authenticate<Io: Stream>(
    config: &AuthenticateLayer,
    greeted: Greeted<Io>,
) -> impl Future<Output = Result<Requested<ClientStream<Io>>, Error>> + use<Io> {
    match &greeted.offer {
        Offer::Methods(greeting) => {
            let usable = |method: &&Arc<dyn AuthMethod>| {
                greeting.offers(method.code()) && method.offered_to(&greeted.session)
            };
            let method = config.methods.iter().find(usable).cloned();
            Either::Left(socks5(method, greeted))
        }
        Offer::Request(request) => {
            let request = request.clone();
            Either::Right(socks4(config.clone(), greeted, request))
        }
    }
}

/// Why a client is not let in, where no verifier said so.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error("the client offers no method that will do")]
    NoMethod,
    #[error("SOCKS4 cannot authenticate")]
    Socks4,
}

/// Taken apart before the future begins, which would keep room for the whole as
/// well as for the parts.
fn socks5<Io: Stream>(
    method: Option<Arc<dyn AuthMethod>>,
    greeted: Greeted<Io>,
) -> impl Future<Output = Result<Requested<ClientStream<Io>>, Error>> {
    let Greeted {
        mut io,
        mut session,
        mut buffered,
        mut server,
        hook,
        ..
    } = greeted;
    async move {
        // Not by the pointer, which is a method too, and would box the future again.
        let Some(method) = method.as_deref() else {
            let mut answer = Vec::new();
            server.refuse_methods(&mut answer).map_err(protocol)?;
            dismiss(&mut io, &answer).await;
            return Err(Error::new(ErrorKind::Authentication, NotAdmitted::NoMethod));
        };
        // Behind what has come already, where there is room.
        let came = buffered.len();
        server
            .select(method.code(), &mut buffered)
            .map_err(protocol)?;
        let answer = buffered.get(came..).unwrap_or_default();
        io.write_all(answer).await.map_err(Error::client)?;
        io.flush().await.map_err(Error::client)?;
        buffered.truncate(came);

        let mut negotiation = Negotiation::new(&session, &mut buffered, &mut io);
        let admitted = match method.authenticate(&mut negotiation).await {
            Ok(admitted) => {
                // What it wrote last may be in a buffer still.
                negotiation.flush().await.map_err(Error::client)?;
                admitted
            }
            Err(error) => {
                let kind = match negotiation.is_gone() {
                    true => ErrorKind::ClientGone,
                    false => ErrorKind::Authentication,
                };
                // The method has said its word; see that it arrives.
                dismiss(&mut io, &[]).await;
                return Err(Error::of_work(kind, error));
            }
        };
        let method = method.code().into();
        let mut io = admitted.enter(method, &mut session, &mut buffered, io);
        session.watch.learn(&session);
        server.authenticated().map_err(protocol)?;

        let received = receive(&mut io, &mut buffered, |input| server.receive(input));
        let request = match received.await {
            Ok(Event::Request(request)) => request,
            Ok(other) => return Err(unexpected(&other)),
            Err(ReceiveError::Io(error)) => return Err(Error::client(error)),
            Err(ReceiveError::Invalid(error)) => {
                let mut answer = Vec::new();
                server.answer(&error, &mut answer);
                dismiss(&mut io, &answer).await;
                return Err(protocol(error));
            }
        };
        Ok(Requested {
            client: Inbound::new(io, buffered, Version::Socks5).answering(hook, &session),
            request: Request::new(session, request.command, request.target),
        })
    }
}

fn socks4<Io: Stream>(
    config: AuthenticateLayer,
    greeted: Greeted<Io>,
    request: server::Request,
) -> impl Future<Output = Result<Requested<ClientStream<Io>>, Error>> {
    let Greeted {
        io,
        mut session,
        mut buffered,
        hook,
        ..
    } = greeted;
    async move {
        let (admitted, by) = match admit_socks4(&config, &session).await {
            Ok(admitted) => admitted,
            Err(error) => {
                let client = Inbound::new(io, buffered, Version::Socks4);
                return Err(client.answering(hook, &session).refuse(error).await);
            }
        };
        let io = admitted.enter(by, &mut session, &mut buffered, io);
        Ok(Requested {
            client: Inbound::new(io, buffered, Version::Socks4).answering(hook, &session),
            request: Request::new(session, request.command, request.target),
        })
    }
}

async fn admit_socks4(
    config: &AuthenticateLayer,
    session: &Session,
) -> Result<(Admitted, AuthenticatedBy), Error> {
    if let Some(verify) = &config.user_ids {
        let attempt = Attempt {
            session: session.for_work(),
            credentials: session.user_id.clone().unwrap_or_default(),
        };
        let verdict = verify(attempt).await;
        return match verdict {
            Ok(admitted) => Ok((admitted, AuthenticatedBy::UserId)),
            Err(error) => Err(Error::of_work(ErrorKind::Authentication, error)),
        };
    }
    let open =
        |method: &Arc<dyn AuthMethod>| method.code() == Method::NONE && method.offered_to(session);
    if config.methods.iter().any(open) {
        return Ok((Admitted::anonymous(), Method::NONE.into()));
    }
    Err(Error::new(ErrorKind::Authentication, NotAdmitted::Socks4))
}

fn protocol(error: server::Error) -> Error {
    Error::new(ErrorKind::Protocol, error)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io, time::Duration};

    use socks_core::{Credentials, v4::UserId, v5::Method};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };
    use tokio_test::io::Mock;
    use tower::{ServiceBuilder, ServiceExt, service_fn};
    use tower_layer::Layer;

    use super::authenticate;
    use crate::{
        session::{
            Accepted, AuthenticatedBy, BoxError, ErrorKind, Greeted, Identity, Negotiation,
            Refusal, Session,
        },
        stages::{
            authenticate::{
                Admitted, Attempt, AuthMethod, AuthenticateLayer, NoAuth, UsernamePassword, Users,
            },
            handshake::HandshakeLayer,
        },
        test_support::{CONNECT, HELLO, Stop, accepted, greet, negotiate, negotiate_from, script},
    };

    fn users() -> AuthenticateLayer {
        AuthenticateLayer::password(Users::new().with("joe", "good").unwrap())
    }

    fn name(session: &Session) -> Option<&str> {
        session.identity.as_ref().map(Identity::as_str)
    }

    #[tokio::test]
    async fn what_a_negotiation_is_about_is_kept_once() {
        let greeted = greet(HandshakeLayer::new(), script().read(HELLO).build()).await;
        let state = size_of::<Greeted<Mock>>();
        let layer = users();
        let negotiation = authenticate(&layer, greeted.unwrap());

        // Async functions that hand it on by value used to keep it six times,
        // and their room for a dismissal besides.
        let room = size_of_val(&negotiation);
        assert!(room < 2 * state + 256, "{room} bytes for {state}");
    }

    #[tokio::test]
    async fn without_authentication_the_request_follows_the_selection() {
        let io = script()
            .read(HELLO)
            .write(b"\x05\x00")
            .read(CONNECT)
            .build();

        let requested = negotiate(AuthenticateLayer::new(NoAuth), io).await.unwrap();

        assert_eq!(requested.request.target.to_string(), "127.0.0.1:80");
        assert_eq!(name(&requested.request.session), None);
    }

    #[tokio::test]
    async fn greeting_password_request_and_payload_may_come_at_once() {
        let mut sent = b"\x05\x01\x02\x01\x03joe\x04good".to_vec();
        sent.extend(CONNECT);
        sent.extend(b"GET /");
        let io = script()
            .read(&sent)
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .build();

        let requested = negotiate(users(), io).await.unwrap();

        assert_eq!(name(&requested.request.session), Some("joe"));
        assert_eq!(requested.client.early, b"GET /");
    }

    #[tokio::test]
    async fn everything_may_come_byte_by_byte() {
        let mut io = script();
        let bytewise = |io: &mut tokio_test::io::Builder, bytes: &[u8]| {
            for byte in bytes {
                io.read(&[*byte]);
            }
        };
        bytewise(&mut io, b"\x05\x02\x00\x02");
        io.write(b"\x05\x02");
        bytewise(&mut io, b"\x01\x03joe\x04good");
        io.write(b"\x01\x00");
        bytewise(&mut io, b"\x05\x01\x00\x03\x0bexample.com\x01\xbb");

        let requested = negotiate(users(), io.build()).await.unwrap();

        assert_eq!(requested.request.target.to_string(), "example.com:443");
        assert!(requested.client.early.is_empty());
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused_before_the_request_is_read() {
        for attempt in [
            &b"\x01\x03joe\x03bad"[..],
            b"\x01\x03jim\x04good",
            b"\x01\x00\x00",
            b"\x01\x03joe\x05good\x00",
        ] {
            let io = script()
                .read(b"\x05\x01\x02")
                .write(b"\x05\x02")
                .read(attempt)
                .write(b"\x01\x01")
                .build();

            let error = negotiate(users(), io).await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    #[tokio::test]
    async fn an_empty_list_lets_nobody_in() {
        let io = script()
            .read(b"\x05\x01\x02\x01\x00\x00")
            .write(b"\x05\x02")
            .write(b"\x01\x01")
            .build();

        let error = negotiate(AuthenticateLayer::password(Users::new()), io)
            .await
            .unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Authentication);
    }

    #[tokio::test]
    async fn an_empty_password_reaches_the_verifier_which_decides() {
        let verifier = service_fn(|attempt: Attempt<Credentials>| async move {
            let empty = Credentials::new("joe", "").unwrap();
            assert_eq!(attempt.credentials, empty);
            Ok::<_, Infallible>(Identity::new("joe"))
        });
        let io = script()
            .read(b"\x05\x01\x02\x01\x03joe\x00")
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .read(CONNECT)
            .build();

        assert!(
            negotiate(AuthenticateLayer::password(verifier), io)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_negotiation_of_another_version_is_refused() {
        let io = script()
            .read(b"\x05\x01\x02")
            .write(b"\x05\x02")
            .read(b"\x05\x03joe\x04good")
            .write(b"\x01\x01")
            .build();

        let error = negotiate(users(), io).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Authentication);
    }

    #[tokio::test]
    async fn no_method_in_common_is_refused_once() {
        for greeting in [
            &b"\x05\x01\x00"[..],
            b"\x05\x00",
            b"\x05\x02\x01\x80",
            b"\x05\x01\xff",
        ] {
            let io = script().read(greeting).write(b"\x05\xff").build();

            let error = negotiate(users(), io).await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    #[tokio::test]
    async fn the_server_s_order_of_methods_counts() {
        let io = script()
            .read(b"\x05\x02\x00\x02\x01\x03joe\x04good")
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .read(CONNECT)
            .build();
        assert!(negotiate(users().or(NoAuth), io).await.is_ok());

        let io = script()
            .read(b"\x05\x02\x02\x00")
            .write(b"\x05\x00")
            .read(CONNECT)
            .build();
        let password = UsernamePassword::new(Users::new());
        assert!(
            negotiate(AuthenticateLayer::new(NoAuth).or(password), io)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_verifier_that_breaks_refuses_in_the_method_s_words() {
        let broken = ServiceBuilder::new().service_fn(|_: Attempt| async {
            Err::<Identity, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        });
        let refusing =
            service_fn(|_: Attempt| async { Err::<Identity, _>(Refusal::ttl_expired("no")) });
        for auth in [
            AuthenticateLayer::password(broken),
            AuthenticateLayer::password(refusing),
        ] {
            let io = script()
                .read(b"\x05\x01\x02\x01\x03joe\x04good")
                .write(b"\x05\x02")
                .write(b"\x01\x01")
                .build();

            let error = negotiate(auth, io).await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_bounds_the_verifier_too() {
        let stuck = service_fn(|_: Attempt| std::future::pending::<Result<Identity, Infallible>>());
        let io = script()
            .read(b"\x05\x01\x02\x01\x03joe\x04good")
            .write(b"\x05\x02")
            .build();
        let began = Instant::now();

        let error = negotiate(AuthenticateLayer::password(stuck), io)
            .await
            .unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_verifier_sees_the_session() {
        let local = service_fn(|attempt: Attempt<Credentials>| async move {
            match attempt.session.protocol {
                Some(protocol) => Ok(Identity::from(protocol.to_string())),
                None => Err("no protocol"),
            }
        });
        let io = script()
            .read(b"\x05\x01\x02\x01\x01a\x01b")
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .read(CONNECT)
            .build();

        let requested = negotiate(AuthenticateLayer::password(local), io)
            .await
            .unwrap();

        assert_eq!(name(&requested.request.session), Some("socks5"));
    }

    #[tokio::test]
    async fn a_malformed_request_is_answered() {
        for (request, reply) in [
            (&b"\x05\x01\x00\x02"[..], 8),
            (b"\x04\x01", 1),
            (b"\x05\x01\x00\x03\x00\x00\x50", 1),
            (b"\x05\x01\x00\x03\x03a b\x00\x50", 1),
        ] {
            let io = script()
                .read(HELLO)
                .write(b"\x05\x00")
                .read(request)
                .write(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
                .build();

            let error = negotiate(AuthenticateLayer::new(NoAuth), io)
                .await
                .unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Protocol, "{request:?}");
        }
    }

    const SOCKS4: &[u8] = b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00";
    const REJECTED: &[u8] = b"\x00\x5b\0\0\0\0\0\0";

    #[tokio::test]
    async fn socks4_needs_no_authentication_or_a_verifier_of_its_own() {
        let io = script().read(SOCKS4).build();
        let requested = negotiate(AuthenticateLayer::new(NoAuth), io).await.unwrap();
        assert_eq!(
            name(&requested.request.session),
            None,
            "a claim is no identity"
        );

        let io = script().read(SOCKS4).write(REJECTED).build();
        let error = negotiate(users(), io).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);

        let claims = service_fn(|attempt: Attempt<UserId>| async move {
            match attempt.credentials.as_bytes() {
                b"joe" => Ok(Identity::new("joe")),
                _ => Err("who?"),
            }
        });
        let io = script().read(SOCKS4).build();
        let requested = negotiate(users().with_user_ids(claims), io).await.unwrap();
        assert_eq!(name(&requested.request.session), Some("joe"));

        let io = script()
            .read(b"\x04\x01\x00\x50\x7f\x00\x00\x01jim\x00")
            .write(REJECTED)
            .build();
        let error = negotiate(users().with_user_ids(claims), io)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
    }

    /// A private method; everything after it is shifted by one.
    struct Shift;

    #[async_trait::async_trait]
    impl AuthMethod for Shift {
        fn code(&self) -> Method {
            Method(0x88)
        }

        async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
            let byte = client.read_u8().await?;
            client.write_all(&[byte]).await?;
            Ok(Admitted::from(Identity::new("shifter")).with_wrap(tokio::io::BufStream::new))
        }
    }

    #[tokio::test]
    async fn what_was_read_too_far_lies_beneath_a_wrapped_stream() {
        let mut sent = b"\x05\x01\x88\x07".to_vec();
        sent.extend(CONNECT);
        sent.extend(b"early");
        let io = script()
            .read(&sent)
            .write(b"\x05\x88")
            .write(b"\x07")
            .build();

        let mut requested = negotiate(AuthenticateLayer::new(Shift), io).await.unwrap();

        assert!(requested.client.io().get_ref().is_none());
        let mut early = std::mem::take(&mut requested.client.early);
        requested.client.io.read_to_end(&mut early).await.unwrap();
        assert_eq!(early, b"early");
    }

    /// None for clients that nobody knows the address of.
    struct Nowhere;

    #[async_trait::async_trait]
    impl AuthMethod for Nowhere {
        fn code(&self) -> Method {
            Method::NONE
        }

        fn offered_to(&self, session: &Session) -> bool {
            session.client_addr.is_some()
        }

        async fn authenticate(&self, _: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
            Ok(Admitted::anonymous())
        }
    }

    #[tokio::test]
    async fn a_method_is_offered_to_whom_it_likes() {
        let io = script().read(HELLO).write(b"\x05\xff").build();
        assert!(
            negotiate(AuthenticateLayer::new(Nowhere), io)
                .await
                .is_err()
        );

        let io = script().read(SOCKS4).write(REJECTED).build();
        assert!(
            negotiate(AuthenticateLayer::new(Nowhere), io)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn methods_differ_by_where_clients_come_from() {
        let local = NoAuth.offered_if(|session| {
            let ip = session.client_addr.map(|addr| addr.ip());
            ip.is_some_and(|ip| ip.is_loopback())
        });
        let users = Users::new().with("joe", "good").unwrap();
        let layer = AuthenticateLayer::new(local).or(UsernamePassword::new(users));
        for (client, chosen) in [
            (Some("127.0.0.1:1"), 0),
            (Some("[::1]:1"), 0),
            (Some("[::ffff:127.0.0.1]:1"), 0),
            (Some("192.0.2.1:1"), 2),
            (None, 2),
        ] {
            let mut io = script();
            io.read(b"\x05\x02\x00\x02").write(&[5, chosen]);
            let mut session = Session::new();
            if let Some(client) = client {
                session = session.with_client_addr(client.parse().unwrap());
            }
            if chosen == 2 {
                io.read(b"\x01\x03joe\x04good").write(b"\x01\x00");
            }
            let accepted = Accepted::new(io.read(CONNECT).build(), session);
            let requested = negotiate_from(layer.clone(), accepted).await.unwrap();
            let known = name(&requested.request.session);
            assert_eq!(known, (chosen == 2).then_some("joe"), "{client:?}");
        }
        let remote = Session::new().with_client_addr("192.0.2.1:1".parse().unwrap());
        let io = script().read(SOCKS4).write(REJECTED).build();
        let error = negotiate_from(layer, Accepted::new(io, remote)).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Authentication);
    }

    /// Asks and answers by a byte each, and flushes nothing.
    struct Terse;

    #[async_trait::async_trait]
    impl AuthMethod for Terse {
        fn code(&self) -> Method {
            Method(0x81)
        }

        async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
            client.write_all(b"?").await?;
            let answer = client.read_u8().await?;
            client.write_all(b"!").await?;
            match answer {
                b'!' => Ok(Identity::new("terse").into()),
                _ => Err("wrong answer".into()),
            }
        }
    }

    #[tokio::test]
    async fn what_a_method_writes_is_flushed_before_it_reads_and_when_it_is_done() {
        // TLS and the like keep what is written until they are flushed.
        let (mut client, io) = tokio::io::duplex(64);
        let accepted = accepted(tokio::io::BufStream::new(io));
        let stack = AuthenticateLayer::new(Terse).layer(Stop);
        let stage = HandshakeLayer::new().layer(stack).oneshot(accepted);
        let session = tokio::spawn(stage);
        let mut heard = [0; 2];
        client.write_all(b"\x05\x01\x81").await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [5, 0x81]);
        assert_eq!(client.read_u8().await.unwrap(), b'?');
        client.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
        client.write_all(CONNECT).await.unwrap();
        let requested = session.await.unwrap().unwrap();
        assert_eq!(name(&requested.request.session), Some("terse"));
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_while_it_negotiates_has_not_failed_to_authenticate() {
        for (auth, method) in [(users(), 2), (AuthenticateLayer::new(Terse), 0x81)] {
            let (mut client, io) = tokio::io::duplex(64);
            client.write_all(&[5, 1, method]).await.unwrap();
            drop(client);
            let stage = HandshakeLayer::new().layer(auth.layer(Stop));
            let error = stage.oneshot(accepted(io)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ClientGone, "{error:?}");
        }
    }

    #[tokio::test]
    async fn rules_can_tell_by_what_a_client_has_authenticated() {
        let io = script()
            .read(b"\x05\x01\x02\x01\x03joe\x04good")
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .read(CONNECT)
            .build();
        let by_password = negotiate(users(), io).await.unwrap();
        let method = by_password.request.session.method;
        assert_eq!(method, Some(Method::USERNAME_PASSWORD.into()));

        let io = script().read(SOCKS4).build();
        let vouch =
            service_fn(|_: Attempt<UserId>| async { Ok::<_, Infallible>(Identity::new("joe")) });
        let by_user_id = negotiate(users().with_user_ids(vouch), io).await.unwrap();
        let method = by_user_id.request.session.method;
        assert_eq!(method, Some(AuthenticatedBy::UserId));

        let io = script()
            .read(HELLO)
            .write(b"\x05\x00")
            .read(CONNECT)
            .build();
        let by_nothing = negotiate(AuthenticateLayer::new(NoAuth), io).await.unwrap();
        assert_eq!(by_nothing.request.session.method, Some(Method::NONE.into()));
    }
}
