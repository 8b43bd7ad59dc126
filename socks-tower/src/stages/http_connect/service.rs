use socks_core::{
    Credentials,
    v5::{Command, Method},
};
use tower_service::Service;

use super::{
    HttpConnectLayer,
    head::{Head, HeadReader},
    words::{Http, Status, without_body},
};
use crate::{
    session::{
        Accepted, ClientStream, Error, ErrorKind, Inbound, Protocol, ReceiveError, Request,
        Requested, Session, Stage, StageFuture, Stream, always_ready, dismiss, opaque_future,
        receive, timeout_at, trace, watch::StageKind,
    },
    stages::authenticate::{Admitted, Attempt},
};

/// Lets the client in and reads its request, then goes on to `S`. See the
/// [module's page](crate::stages::http_connect).
#[derive(Clone, Debug)]
pub struct HttpConnect<S> {
    pub(super) config: HttpConnectLayer,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`HttpConnect`].
    HttpConnectFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Accepted<Io>> for HttpConnect<S>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = HttpConnectFuture<S::Future>;

    always_ready!();

    fn call(&mut self, mut accepted: Accepted<Io>) -> Self::Future {
        accepted.session.speaks(Protocol::Http);
        let own = negotiate(self.config.clone(), accepted);
        HttpConnectFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

/// What is asked of a client that is not let in (RFC 7617 section 2.1).
pub(in crate::stages) const CHALLENGE: &str = r#"Basic realm="proxy", charset="UTF-8""#;
pub(in crate::stages) const WANTS_PASSWORD: &str = "This proxy wants a username and a password.";

/// Why a client is not served, and what it hears of it: nothing, if it is gone.
struct Failure {
    error: Error,
    answer: Vec<u8>,
}

/// Why a client is not let in, where no verifier said so.
#[derive(Debug, thiserror::Error)]
#[error("the client sent no credentials that can be read")]
struct NoCredentials;

async fn negotiate<Io: Stream>(
    config: HttpConnectLayer,
    accepted: Accepted<Io>,
) -> Result<Requested<ClientStream<Io>>, Error> {
    let deadline = accepted.deadline(config.timeout);
    let Accepted {
        mut io,
        mut buffered,
        mut session,
        ..
    } = accepted;

    let admitted = admit(&config, &mut io, &mut buffered, &session);
    let admitted = match timeout_at(deadline, admitted).await {
        Ok(admitted) => admitted,
        Err(elapsed) => Err(Failure {
            error: Error::new(ErrorKind::Deadline, elapsed),
            answer: Status::REQUEST_TIMEOUT.answer("", "The request took too long."),
        }),
    };
    let (head, admitted, method) = match admitted {
        Ok(admitted) => admitted,
        Err(Failure { error, answer }) => {
            let mut answer = answer.as_slice();
            if buffered.starts_with(b"HEAD ") {
                answer = without_body(answer);
            }
            // A long one has no place any more, and the client may take its time.
            drop(buffered);
            if !answer.is_empty() {
                dismiss(&mut io, answer).await;
            }
            return Err(error);
        }
    };
    let io = admitted.enter(method.into(), &mut session, &mut buffered, io);
    session.protocol = Some(head.protocol);
    let request = Request::new(session, Command::CONNECT, head.target);
    trace::requested(&request);
    let words = Http::new(config.respond.as_ref(), &request.session);
    let client = Inbound::new(io, buffered, words).answering(config.hook, &request.session);
    Ok(Requested { client, request })
}

async fn admit<Io: Stream>(
    config: &HttpConnectLayer,
    io: &mut Io,
    buffered: &mut Vec<u8>,
    session: &Session,
) -> Result<(Head, Admitted, Method), Failure> {
    let mut reader = HeadReader::new(&config.room);
    let stage = trace::stage(StageKind::Handshake, session);
    let received = stage.run(receive(io, buffered, |input| reader.read(input)));
    let mut head = received.await.map_err(|error| match error {
        ReceiveError::Io(error) => Failure {
            error: Error::client(error),
            answer: Vec::new(),
        },
        ReceiveError::Invalid(error) => Failure {
            answer: error.answer(),
            error: Error::new(ErrorKind::Protocol, error),
        },
    })?;
    if reader.was_long() {
        buffered.shrink_to_fit();
    }
    drop(reader);
    let admitted = verify(config, session, head.credentials.take()).await;
    let (admitted, method) = admitted.map_err(|error| Failure {
        error,
        answer: Status::PROXY_AUTHENTICATION_REQUIRED.answer(
            &format!("Proxy-Authenticate: {CHALLENGE}\r\n"),
            WANTS_PASSWORD,
        ),
    })?;
    Ok((head, admitted, method))
}

pub(in crate::stages) async fn verify(
    config: &HttpConnectLayer,
    session: &Session,
    credentials: Option<Credentials>,
) -> Result<(Admitted, Method), Error> {
    let anonymous = (Admitted::anonymous(), Method::NONE);
    let Some(verify) = &config.verifier else {
        return Ok(anonymous);
    };
    let Some(credentials) = credentials else {
        if config.open_to.as_ref().is_some_and(|is_to| is_to(session)) {
            return Ok(anonymous);
        }
        return Err(Error::new(ErrorKind::Authentication, NoCredentials));
    };
    session.watch.claimed(&credentials.username);
    let attempt = Attempt {
        session: session.for_work(),
        credentials,
    };
    let stage = trace::stage(StageKind::Authenticate, session);
    let verdict = stage.run(verify(attempt)).await;
    let admitted = verdict.map_err(|error| Error::of_work(ErrorKind::Authentication, error))?;
    Ok((admitted, Method::USERNAME_PASSWORD))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, io, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };
    use tokio_test::io::Mock;
    use tower::service_fn;
    use tower_layer::Layer;

    use super::*;
    use http::Response;
    use socks_core::v5::ReplyCode;

    use crate::{
        session::{DialError, Identity, Outbound, Refusal},
        stages::{authenticate::Users, connect::ConnectLayer},
        test_support::{Stop, accepted, script},
    };

    const HEAD: &[u8] = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    const JOE: &[u8] = b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic am9lOmdvb2Q=\r\n\r\n";

    async fn negotiate(
        layer: HttpConnectLayer,
        io: Mock,
    ) -> Result<Requested<ClientStream<Mock>>, Error> {
        layer.layer(Stop).call(accepted(io)).await
    }

    fn users() -> HttpConnectLayer {
        HttpConnectLayer::password(Users::new().with("joe", "good").unwrap())
    }

    fn wants_password() -> Vec<u8> {
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\
          Proxy-Authenticate: Basic realm=\"proxy\", charset=\"UTF-8\"\r\n\
          Content-Type: text/plain\r\n\
          Content-Length: 45\r\n\
          Connection: close\r\n\
          \r\n\
          This proxy wants a username and a password.\r\n"
            .to_vec()
    }

    #[tokio::test]
    async fn a_request_is_handed_on_with_what_follows_it() {
        let mut sent = HEAD.to_vec();
        sent.extend(b"\x16\x03\x01");

        let requested = negotiate(HttpConnectLayer::open(), script().read(&sent).build()).await;

        let requested = requested.unwrap();
        let request = &requested.request;
        assert_eq!(request.target.to_string(), "example.com:443");
        assert_eq!(request.command, Command::CONNECT);
        assert_eq!(request.session.protocol, Some(Protocol::Http11));
        assert_eq!(request.session.identity, None);
        assert_eq!(requested.client.early, b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn those_whom_it_is_open_to_need_no_password_and_a_wrong_one_is_one() {
        let layer = |is_open: bool| users().with_open_to(move |_| is_open);
        let wrong = b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic am9lOmJhZA==\r\n\r\n";
        let wants = wants_password();

        let requested = negotiate(layer(true), script().read(HEAD).build()).await;
        let session = requested.unwrap().request.session;
        assert_eq!(session.identity, None);
        assert_eq!(session.method, Some(Method::NONE.into()));
        let requested = negotiate(layer(true), script().read(JOE).build()).await;
        let session = requested.unwrap().request.session;
        assert_eq!(session.identity, Some(Identity::new("joe")));

        for (is_open, head) in [(true, &wrong[..]), (false, HEAD)] {
            let io = script().read(head).write(&wants).build();
            let error = negotiate(layer(is_open), io).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    #[tokio::test]
    async fn a_head_may_come_byte_by_byte() {
        let mut io = script();
        for byte in HEAD {
            io.read(&[*byte]);
        }

        let requested = negotiate(HttpConnectLayer::open(), io.build()).await;

        assert_eq!(requested.unwrap().client.early, b"");
    }

    #[tokio::test]
    async fn bytes_that_a_layer_read_before_come_first() {
        let (front, back) = HEAD.split_at(9);
        let mut accepted = accepted(script().read(back).build());
        accepted.buffered = front.to_vec();

        let mut stack = HttpConnectLayer::open().layer(Stop);
        let requested: Requested<_> = stack.call(accepted).await.unwrap();

        assert_eq!(requested.request.target.port, 443);
    }

    #[tokio::test]
    async fn the_right_password_lets_in() {
        let requested = negotiate(users(), script().read(JOE).build()).await;

        let identity = requested.unwrap().request.session.identity;
        assert_eq!(identity.unwrap().as_str(), "joe");
    }

    #[tokio::test]
    async fn no_or_a_wrong_password_is_asked_for_one() {
        let wrong = b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic am9lOmJhZA==\r\n\r\n";
        for head in [HEAD, wrong] {
            let io = script().read(head).write(&wants_password()).build();

            let error = negotiate(users(), io).await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    #[tokio::test]
    async fn who_a_certificate_named_stays_known() {
        let mut accepted = accepted(script().read(HEAD).build());
        accepted.session.identity = Some(Identity::new("cert"));

        let mut stack = HttpConnectLayer::open().layer(Stop);
        let requested: Requested<_> = stack.call(accepted).await.unwrap();

        let identity = requested.request.session.identity;
        assert_eq!(identity.unwrap().as_str(), "cert");
    }

    #[tokio::test]
    async fn a_socks_client_is_told_what_this_is() {
        let answer = Status::BAD_REQUEST.answer("", "the first byte, 0x05, begins no HTTP.");
        let io = script().read(b"\x05\x01\x00").write(&answer).build();

        let error = negotiate(HttpConnectLayer::open(), io).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_amid_its_head_hears_nothing() {
        let io = script().read(b"CONNECT a:1 HTT").build();

        let error = negotiate(HttpConnectLayer::open(), io).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::ClientGone);
    }

    async fn heard(mut client: DuplexStream) -> String {
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_accept_not_from_the_last_byte() {
        let (client, io) = duplex(1024);
        let (read, mut write) = tokio::io::split(client);
        let drip = tokio::spawn(async move {
            for byte in *b"CONNECT " {
                tokio::time::sleep(Duration::from_secs(2)).await;
                if write.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
            write
        });
        let layer = HttpConnectLayer::open().with_timeout(Duration::from_secs(7));
        let began = Instant::now();

        let result = layer.layer(Stop).call(accepted(io)).await;

        assert_eq!(result.unwrap_err().kind(), ErrorKind::Deadline);
        // And a second for the client to take its answer.
        assert_eq!(began.elapsed(), Duration::from_secs(8));
        let heard = heard(read.unsplit(drip.await.unwrap())).await;
        assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_covers_the_verifier() {
        let stuck = service_fn(|_: Attempt| pending::<Result<Identity, Infallible>>());
        let (mut client, io) = duplex(1024);
        client.write_all(JOE).await.unwrap();
        let began = Instant::now();

        let result = HttpConnectLayer::password(stuck)
            .layer(Stop)
            .call(accepted(io));

        assert_eq!(result.await.unwrap_err().kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), Duration::from_secs(10 + 1));
    }

    /// What a client hears of a connector that answers so.
    async fn hears<E>(
        layer: HttpConnectLayer,
        answer: impl Fn() -> Result<DuplexStream, E> + Clone + Send + 'static,
    ) -> String
    where
        E: Into<crate::session::BoxError> + Send + 'static,
    {
        let connector = service_fn(move |_: Request| {
            let local = "192.0.2.1:7".parse().unwrap();
            let answer = answer().map(|io| Outbound::new(io).with_local_addr(local));
            async move { answer }
        });
        let (mut client, io) = duplex(1024);
        client.write_all(HEAD).await.unwrap();
        client.shutdown().await.unwrap();
        let mut stack = layer.layer(ConnectLayer::new(connector).layer(Stop));
        // The stream closes with what came of it.
        drop(stack.call(accepted(io)).await);
        heard(client).await
    }

    #[tokio::test]
    async fn a_granted_request_is_answered_with_200_alone() {
        let heard = hears(HttpConnectLayer::open(), || {
            Ok::<_, Infallible>(duplex(1).0)
        })
        .await;
        assert_eq!(heard, "HTTP/1.1 200 Connection established\r\n\r\n");
    }

    #[tokio::test]
    async fn a_failed_dial_is_told_in_http_s_words() {
        let open = HttpConnectLayer::open;
        let refused = hears(open(), || {
            Err(DialError::from(io::ErrorKind::ConnectionRefused))
        })
        .await;
        assert_eq!(
            refused,
            "HTTP/1.1 502 Bad Gateway\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: 48\r\n\
             Connection: close\r\n\
             \r\n\
             The proxy did not connect: connection refused.\r\n"
        );
        let timed_out = hears(open(), || Err(tower::timeout::error::Elapsed::new())).await;
        assert!(timed_out.starts_with("HTTP/1.1 504 "), "{timed_out}");
        let denied = hears(open(), || Err(Error::bare(ErrorKind::Denied))).await;
        assert!(denied.starts_with("HTTP/1.1 403 "), "{denied}");
        let unserved = hears(open(), || Err(Refusal::command_not_supported("no")));
        assert!(unserved.await.starts_with("HTTP/1.1 501 "));
    }

    #[tokio::test]
    async fn no_answer_to_a_head_has_a_body() {
        for (line, status) in [
            ("HEAD / HTTP/1.1\r\n\r\n", "405"),
            ("HEAD http://a/ HTTP/1.0\r\n\r\n", "405"),
            ("HEAD / HTTP/2.0\r\n\r\n", "505"),
            ("HEAD / HTTP/1.1\n\n", "400"),
        ] {
            let (mut client, io) = duplex(1024);
            client.write_all(line.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let error = HttpConnectLayer::open().layer(Stop).call(accepted(io));
            assert_eq!(error.await.unwrap_err().kind(), ErrorKind::Protocol);
            let heard = heard(client).await;
            assert_eq!(&heard[9..12], status, "{line}");
            assert_eq!(heard.find("\r\n\r\n"), Some(heard.len() - 4), "{heard}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_has_no_body_in_its_answer() {
        let (mut client, io) = duplex(1024);
        client.write_all(b"HEAD / HT").await.unwrap();
        let result = HttpConnectLayer::open()
            .layer(Stop)
            .call(accepted(io))
            .await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Deadline);
        let heard = heard(client).await;
        assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
        assert!(heard.ends_with("\r\n\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn a_head_with_a_kerberos_token_is_read_and_leaves_no_memory_behind() {
        let token = "k".repeat(12 * 1024);
        let head =
            format!("CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Negotiate {token}\r\n\r\n");
        let (mut client, io) = duplex(64 * 1024);
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(b"early").await.unwrap();

        let mut stack = HttpConnectLayer::open().layer(Stop);
        let requested: Requested<_> = stack.call(accepted(io)).await.unwrap();

        assert_eq!(requested.request.target.port, 1);
        assert!(requested.client.early.capacity() <= 1024);
    }

    #[tokio::test]
    async fn when_to_come_again_is_told_where_it_is_known() {
        let limited = || Error::new(ErrorKind::Limited, "too many");
        let later = move || Err(limited().with_retry_after(Duration::from_millis(2100)));
        let heard = hears(HttpConnectLayer::open(), later).await;
        assert!(heard.starts_with("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\n"));

        let heard = hears(HttpConnectLayer::open(), move || Err(limited())).await;
        assert!(heard.starts_with("HTTP/1.1 429 "), "{heard}");
        assert!(!heard.contains("Retry-After"), "{heard}");
    }

    #[tokio::test]
    async fn a_refusal_may_have_words_of_its_own() {
        let closed = HttpConnectLayer::open().with_response(|error, session| {
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(session.protocol.is_some());
            Response::builder()
                .status(503)
                .header("Retry-After", 60)
                .header("Content-Length", 7)
                .header("Transfer-Encoding", "chunked")
                .body("Closed.\n".to_owned())
                .ok()
        });
        let soon = Duration::from_secs(1);
        let denied = move || Err(Error::bare(ErrorKind::Denied).with_retry_after(soon));
        let heard = hears(closed, denied).await;
        assert_eq!(
            heard,
            "HTTP/1.1 503 Service Unavailable\r\n\
             retry-after: 60\r\n\
             content-type: text/plain\r\n\
             content-length: 8\r\n\
             connection: close\r\n\
             \r\n\
             Closed.\n"
        );
    }

    #[tokio::test]
    async fn a_response_keeps_its_type_and_is_told_when_to_come_again() {
        let html = HttpConnectLayer::open().with_response(|_, _| {
            let response = Response::builder().status(599);
            response
                .header("Content-Type", "text/html")
                .body("<p>".to_owned())
                .ok()
        });
        let soon = Duration::from_secs(1);
        let other = move || Err(Error::bare(ErrorKind::Other).with_retry_after(soon));
        assert_eq!(
            hears(html, other).await,
            "HTTP/1.1 599 \r\n\
             content-type: text/html\r\n\
             retry-after: 1\r\n\
             content-length: 3\r\n\
             connection: close\r\n\
             \r\n\
             <p>"
        );
    }

    #[tokio::test]
    async fn a_refusal_never_reads_as_a_success() {
        for status in [101, 200, 204, 304, 307] {
            let layer = HttpConnectLayer::open().with_response(move |_, _| {
                let response = Response::builder().status(status);
                response.body(String::new()).ok()
            });
            let heard = hears(layer, || Err(Error::bare(ErrorKind::Denied))).await;
            assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
        }
    }

    #[test]
    fn no_header_can_be_injected() {
        let evil = "1\r\nX-Evil: 1";
        assert!(Response::builder().header("X", evil).body(()).is_err());
        assert!(Response::builder().header(evil, "1").body(()).is_err());
    }

    #[tokio::test]
    async fn the_hook_has_the_last_word() {
        let hide = HttpConnectLayer::open().with_reply(|_| Some(ReplyCode::HOST_UNREACHABLE));
        let heard = hears(hide, || Err(Error::bare(ErrorKind::Denied))).await;
        assert!(heard.starts_with("HTTP/1.1 502 "), "{heard}");
    }
}
