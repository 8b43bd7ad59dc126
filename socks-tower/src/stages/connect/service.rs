use std::{pin::pin, time::Duration};

use socks_core::{Target, v5::Command};
use tower_service::Service;

use crate::{
    session::{
        Connected, Connector, Error, ErrorKind, IntoOutbound, Request, Requested, Stage,
        StageFuture, Stream, always_ready, opaque_future, optional_timeout, tcp, trace,
        watch::StageKind,
    },
    works::tcp::not_to_itself,
};

/// Connects by `C` and replies, then goes on to `S`. See the
/// [module's page](crate::stages::connect).
#[derive(Clone, Copy, Debug)]
pub struct Connect<C, S> {
    pub(super) connector: C,
    pub(super) timeout: Option<Duration>,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Connect`].
    ConnectFuture<F> = StageFuture<F>
}

impl<Io, C, S> Service<Requested<Io>> for Connect<C, S>
where
    Io: Stream,
    C: Connector<Request>,
    S: Stage<Connected<Io, C::Io>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ConnectFuture<S::Future>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let own = connect(self.connector.clone(), self.timeout, requested);
        ConnectFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

/// Taken apart before the future begins, which would keep room for the whole as
/// well as for the parts.
fn connect<Io, C>(
    connector: C,
    within: Option<Duration>,
    requested: Requested<Io>,
) -> impl Future<Output = Result<Connected<Io, C::Io>, Error>>
where
    Io: Stream,
    C: Connector<Request>,
{
    let Requested {
        mut client,
        request,
    } = requested;
    request.session.watch.requested(&request);
    async move {
        if request.command != Command::CONNECT {
            return Err(client.refuse(Error::bare(ErrorKind::Command)).await);
        }
        let answer = {
            let stage = trace::stage(StageKind::Connect, &request.session);
            let dialling = connector.run(request.for_work());
            let dialling = pin!(optional_timeout(within, dialling));
            let watched = client.watch(dialling);
            stage
                .run_until(watched, |answer| matches!(answer, Ok(Ok(Ok(_)))))
                .await?
                .unwrap_or_else(|elapsed| Err(elapsed.into()))
        };
        let upstream = match answer {
            Ok(response) => response.into_outbound(),
            Err(error) => {
                let error = Error::of_work(ErrorKind::Connect, error);
                return Err(client.refuse(error).await);
            }
        };
        let local_addr = upstream.local_addr();
        if local_addr.map(|addr| addr.port()) == Some(request.target.port)
            && let Some(tcp) = tcp(&upstream.io)
            && let Err(itself) = not_to_itself(tcp)
        {
            drop(upstream);
            let error = Error::of_work(ErrorKind::Connect, itself.into());
            return Err(client.refuse(error).await);
        }
        let bound = local_addr.map_or(Target::UNSPECIFIED, Target::from);
        client.grant(&bound).await?;
        request.session.watch.established(tcp(&upstream.io));
        Ok(Connected {
            client,
            upstream,
            request,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, io, time::Duration};

    use socks_core::{Target, v5::Command};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{Instant, timeout},
    };
    use tower::{ServiceBuilder, service_fn};
    use tower_layer::Layer;
    use tower_service::Service;

    use crate::{
        session::{
            Connected, Connector, DialError, Error, ErrorKind, Inbound, Outbound, Request, Session,
        },
        stages::connect::ConnectLayer,
        test_support::{MustNotBeCalled, Stop, requested},
    };

    const GRANTED: &[u8] = b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x07";

    fn request(command: Command) -> Request {
        Request::new(Session::new(), command, Target::UNSPECIFIED)
    }

    /// Runs the stage on a pipe; gives the client's end and what came of it.
    async fn connect<C: Connector<Request>>(
        connector: C,
        client: &mut DuplexStream,
        io: DuplexStream,
        early: &[u8],
        command: Command,
    ) -> (Vec<u8>, Result<Connected<DuplexStream, C::Io>, Error>) {
        let mut stage = ConnectLayer::new(connector).layer(Stop);
        let result = stage.call(requested(io, early, request(command))).await;
        let mut reply = vec![0; 64];
        let len = client.read(&mut reply).await.unwrap();
        reply.truncate(len);
        (reply, result)
    }

    fn to_pipe() -> impl Connector<Request, Io = DuplexStream> {
        service_fn(|_: Request| async {
            let local = "192.0.2.1:7".parse().unwrap();
            Ok::<_, Infallible>(Outbound::new(duplex(64).0).with_local_addr(local))
        })
    }

    #[tokio::test]
    async fn the_client_hears_the_local_address_towards_the_target() {
        let (mut client, io) = duplex(64);

        let (reply, connected) =
            connect(to_pipe(), &mut client, io, b"early", Command::CONNECT).await;

        assert_eq!(reply, GRANTED);
        assert_eq!(connected.unwrap().client.early, b"early");
    }

    #[tokio::test]
    async fn other_commands_are_refused() {
        for command in [
            Command::BIND,
            Command::UDP_ASSOCIATE,
            Command(0),
            Command::RESOLVE,
        ] {
            let (mut client, io) = duplex(64);
            client.shutdown().await.unwrap();

            let (reply, result) = connect(MustNotBeCalled, &mut client, io, b"", command).await;

            assert_eq!(reply[..2], [5, 7]);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Command);
        }
    }

    #[tokio::test]
    async fn a_connector_is_readied_before_it_is_called() {
        let connector = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(to_pipe());
        let (mut client, io) = duplex(64);

        let (reply, _) = connect(connector, &mut client, io, b"", Command::CONNECT).await;

        assert_eq!(reply, GRANTED);
    }

    fn never() -> impl Connector<Request, Io = DuplexStream> {
        service_fn(|_: Request| pending::<Result<DuplexStream, Infallible>>())
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_of_stream_during_the_dial_is_a_half_close() {
        let slow = service_fn(|_: Request| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, Infallible>(duplex(64).0)
        });
        let (mut client, io) = duplex(64);
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();

        let (reply, connected) = connect(slow, &mut client, io, b"", Command::CONNECT).await;

        assert_eq!(reply[..2], [5, 0]);
        let client = connected.unwrap().client;
        assert!(client.eof);
        assert_eq!(client.early, b"last words");
    }

    #[tokio::test]
    async fn a_client_that_resets_ends_the_dial_at_once() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let io = tokio_test::io::Builder::new()
            .read(b"x")
            .read_error(reset)
            .build();
        let mut stage = ConnectLayer::new(never()).layer(Stop);

        let error = stage
            .call(requested(io, b"", request(Command::CONNECT)))
            .await
            .unwrap_err();

        assert_eq!(error.kind(), ErrorKind::ClientGone);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_sends_early_is_bounded_and_not_lost() {
        const MAX: usize = Inbound::<DuplexStream>::MAX_EARLY;
        let slow = service_fn(|_: Request| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, Infallible>(duplex(64).0)
        });
        let (mut client, io) = duplex(2 * MAX);
        let sent: Vec<u8> = (0..MAX + 100)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        client.write_all(&sent).await.unwrap();

        let (_, connected) = connect(slow, &mut client, io, b"", Command::CONNECT).await;

        let mut connected = connected.unwrap();
        assert_eq!(connected.client.early.len(), MAX);
        let mut rest = vec![0; 100];
        connected.client.io.read_exact(&mut rest).await.unwrap();
        assert_eq!([connected.client.early, rest].concat(), sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_client_has_a_second_to_hang_up() {
        let refusing = service_fn(|_: Request| async {
            Err::<DuplexStream, _>(DialError::from(io::ErrorKind::ConnectionRefused))
        });
        let (mut client, io) = duplex(64);
        let began = Instant::now();

        let (reply, result) = connect(refusing, &mut client, io, b"", Command::CONNECT).await;

        assert_eq!(reply[..2], [5, 5]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Connect);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_client_that_never_reads_is_left_after_a_second() {
        let refusing = service_fn(|_: Request| async {
            Err::<DuplexStream, _>(DialError::from(io::ErrorKind::ConnectionRefused))
        });
        let (_client, io) = duplex(1);
        let mut stage = ConnectLayer::new(refusing).layer(Stop);
        let refused = stage.call(requested(io, b"", request(Command::CONNECT)));

        let result = timeout(Duration::from_secs(2), refused).await.unwrap();

        assert_eq!(result.unwrap_err().kind(), ErrorKind::Connect);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bound_on_a_connector_counts_the_wait_for_its_turn() {
        // tower's Timeout does not: with it the last one waited for 40 seconds.
        let inside = ServiceBuilder::new().concurrency_limit(1).service(never());
        let stage = ConnectLayer::new(inside)
            .with_timeout(Duration::from_secs(10))
            .layer(Stop);
        let began = Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (mut client, io) = duplex(64);
            let mut stage = stage.clone();
            all.spawn(async move {
                let connecting = stage.call(requested(io, b"", request(Command::CONNECT)));
                let hearing = async {
                    let mut reply = [0; 2];
                    client.read_exact(&mut reply).await.unwrap();
                    drop(client);
                    reply
                };
                let (_, reply) = tokio::join!(connecting, hearing);
                (reply, began.elapsed())
            });
        }
        for (reply, elapsed) in all.join_all().await {
            assert_eq!((reply, elapsed), ([5, 6], Duration::from_secs(10)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_reply_is_given_up() {
        let (client, io) = duplex(4);
        let began = Instant::now();
        let mut stage = ConnectLayer::new(to_pipe()).layer(Stop);
        let result = stage
            .call(requested(io, b"", request(Command::CONNECT)))
            .await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        drop(client);
    }
}
