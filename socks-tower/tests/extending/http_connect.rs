//! Another first stage: HTTP CONNECT, which yields the same `Requested`, with
//! a dialect of its own.

use socks_tower::{
    Accepted, BoxError, ClientStream, Command, ConnectLayer, Dialect, Error, ErrorKind, Inbound,
    Protocol, Refusal, Relay, Reply, Request, Requested, Stage, StageFuture, Stream, Target,
    middleware::{ObserveLayer, Observer, observe::Summary},
};
use std::task::{Context, Poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};
use tower::{Layer, Service, ServiceBuilder, layer::layer_fn, service_fn};

use crate::{client_of, connector, hears};

struct Http;

impl Dialect for Http {
    fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let status = match reply {
            Reply::Granted { .. } => "200 OK",
            Reply::Refused { error, .. } if error.kind() == ErrorKind::Denied => "403 Forbidden",
            _ => "502 Bad Gateway",
        };
        out.extend(format!("HTTP/1.1 {status}\r\n\r\n").bytes());
    }
}

#[derive(Clone)]
struct HttpConnect<S> {
    inner: S,
}

impl<Io: Stream, S: Stage<Requested<ClientStream<Io>>>> Service<Accepted<Io>> for HttpConnect<S> {
    type Response = S::Response;
    type Error = Error;
    type Future = StageFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
        StageFuture::new(read_head(accepted), self.inner.clone())
    }
}

/// As little of HTTP as a test needs: the head's first line, byte by byte.
async fn read_head<Io: Stream>(
    mut accepted: Accepted<Io>,
) -> Result<Requested<ClientStream<Io>>, Error> {
    accepted.session.speaks(Protocol::other("own-http"));
    let broken = |error: BoxError| Error::new(ErrorKind::Protocol, error);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = accepted.io.read_u8().await;
        head.push(byte.map_err(|error| broken(error.into()))?);
    }
    let head = String::from_utf8(head).map_err(|error| broken(error.into()))?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    let target: Target = target.parse().map_err(|error| broken(Box::new(error)))?;
    let io = ClientStream::plain(accepted.io);
    Ok(Requested::new(
        Inbound::new(io, Vec::new(), Http),
        Request::new(accepted.session, Command::CONNECT, target),
    ))
}

fn layer<S>() -> impl Layer<S, Service = HttpConnect<S>> {
    layer_fn(|inner| HttpConnect { inner })
}

const HEAD: &[u8] = b"CONNECT example.com:443 HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn an_http_client_gets_through_the_same_stages() {
    let proxy = ServiceBuilder::new()
        .layer(layer())
        .layer(ConnectLayer::new(connector()))
        .service(Relay::new());
    let (mut client, _session) = client_of(proxy);

    client.write_all(HEAD).await.unwrap();
    client.write_all(b"ping").await.unwrap();

    hears(&mut client, b"HTTP/1.1 200 OK\r\n\r\nhello").await;
    hears(&mut client, b"ping").await;
}

#[tokio::test]
async fn it_hears_of_failures_in_its_own_words() {
    let denied =
        service_fn(|_: Request| async { Err::<DuplexStream, _>(Refusal::not_allowed("no")) });
    let proxy = ServiceBuilder::new()
        .layer(layer())
        .layer(ConnectLayer::new(denied))
        .service(Relay::new());
    let (mut client, _session) = client_of(proxy);

    client.write_all(HEAD).await.unwrap();

    hears(&mut client, b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
}

#[tokio::test]
async fn a_log_has_its_protocol_by_the_name_that_it_gave_whatever_becomes_of_it() {
    /// What a session spoke, and how it ended.
    struct Note(mpsc::UnboundedSender<(Option<Protocol>, &'static str)>);

    impl Observer for Note {
        fn ended(&self, summary: &Summary<'_>) {
            let ended = (summary.record.protocol, summary.outcome.as_str());
            self.0.send(ended).unwrap();
        }
    }

    let (note, mut noted) = mpsc::unbounded_channel();
    let proxy = ServiceBuilder::new()
        .layer(ObserveLayer::new(Note(note)))
        .layer(layer())
        .layer(ConnectLayer::new(connector()))
        .service(Relay::new());
    for (head, outcome) in [(HEAD, "closed"), (b"BROKEN\r\n\r\n", "protocol")] {
        let (mut client, session) = client_of(proxy.clone());
        client.write_all(head).await.unwrap();
        client.shutdown().await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        let _ = session.await.unwrap();
        let protocol = Protocol::other("own-http");
        assert_eq!(noted.recv().await.unwrap(), (Some(protocol), outcome));
        assert_eq!(protocol.to_string(), "own-http");
    }
}
