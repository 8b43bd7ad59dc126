//! A relay, a command and a connector's layer of one's own.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use socks_tower::{
    Accepted, AuthenticateLayer, BoxError, ByCommand, Command, ConnectLayer, Connected, Error,
    ErrorKind, HandshakeLayer, NoAuth, Outbound, Request, Requested, Session, Stream, Transfer,
    middleware::LiveLimitLayer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, copy_bidirectional, duplex};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A relay that only copies.
#[derive(Clone)]
struct Copy;

impl<Io: Stream, Up: Stream> Service<Connected<Io, Up>> for Copy {
    type Response = Transfer;
    type Error = Error;
    type Future = Boxed<Result<Transfer, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connected: Connected<Io, Up>) -> Self::Future {
        Box::pin(async move {
            let mut upstream = connected.upstream;
            let mut client = connected.client.into_stream();
            let copied = copy_bidirectional(&mut client, &mut upstream.io).await;
            let (up, down) = copied.map_err(|error| Error::new(ErrorKind::Relay, error))?;
            let mut transfer = Transfer::default();
            (transfer.up, transfer.down) = (up, down);
            Ok(transfer)
        })
    }
}

/// A command that says hello, and what the client says after its request.
async fn hello<Io: Stream>(mut requested: Requested<Io>) -> Result<Transfer, Error> {
    let bound = requested.request.target.clone();
    requested.client.grant(&bound).await?;
    let mut client = requested.client.into_stream();
    let mut said = [0; 5];
    let failed = |error| Error::new(ErrorKind::ClientGone, error);
    client.read_exact(&mut said).await.map_err(failed)?;
    client.write_all(b"hello, ").await.map_err(failed)?;
    client.write_all(&said).await.map_err(failed)?;
    Ok(Transfer::default())
}

/// An echo in memory.
async fn echo(_: Request) -> Result<DuplexStream, Infallible> {
    let (near, far) = duplex(64);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(far);
        tokio::io::copy(&mut read, &mut write).await
    });
    Ok(near)
}

fn connect(command: u8) -> Vec<u8> {
    [
        b"\x05\x01\x00\x05",
        &[command][..],
        b"\x00\x01\xc0\x00\x02\x07\x00\x50early",
    ]
    .concat()
}

/// A client of `proxy` that has sent this.
async fn client<P>(proxy: P, sent: &[u8]) -> DuplexStream
where
    P: Service<Accepted<DuplexStream>, Response = Transfer, Error: Into<BoxError>>,
    P: Send + 'static,
    P::Future: Send,
{
    let (mut near, far) = duplex(1024);
    near.write_all(sent).await.unwrap();
    let session = proxy.oneshot(Accepted::new(far, Session::new()));
    tokio::spawn(async { session.await.map_err(Into::into) });
    near
}

async fn heard(client: &mut DuplexStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_relay_of_ones_own_reads_what_came_early_first() {
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(service_fn(echo)))
        .service(Copy);
    let mut client = client(proxy, &connect(1)).await;
    assert_eq!(heard(&mut client, 12).await[..4], [5, 0, 5, 0]);
    client.write_all(b" and late").await.unwrap();
    assert_eq!(heard(&mut client, 14).await, b"early and late");
}

#[tokio::test]
async fn a_command_of_ones_own_goes_on_with_the_stream() {
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(ByCommand::new().on(Command(0x80), service_fn(hello)));
    let mut client = client(proxy, &connect(0x80)).await;
    assert_eq!(heard(&mut client, 12).await[..4], [5, 0, 5, 0]);
    assert_eq!(heard(&mut client, 12).await, b"hello, early");
}

#[tokio::test]
async fn a_layer_that_wraps_the_dialled_stream_lets_a_live_limit_hold_until_the_tunnel_ends() {
    let limit = LiveLimitLayer::overall(1);
    let connector = ServiceBuilder::new()
        .map_response(|dialled: Outbound<DuplexStream>| dialled.map_io(BufStream::new))
        .layer(limit)
        .service_fn(echo);
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(socks_tower::Relay::new());

    let mut first = client(proxy.clone(), &connect(1)).await;
    assert_eq!(heard(&mut first, 17).await[..4], [5, 0, 5, 0]);
    let mut second = client(proxy.clone(), &connect(1)).await;
    assert_eq!(heard(&mut second, 12).await[..4], [5, 0, 5, 1], "no place");
    drop(first);
    // The tunnel's task has to see that.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut third = client(proxy, &connect(1)).await;
    assert_eq!(heard(&mut third, 12).await[..4], [5, 0, 5, 0]);
}
