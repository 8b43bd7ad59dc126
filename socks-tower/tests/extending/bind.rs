//! BIND: a stage that replies twice and goes on to the same relay.

use std::task::{Context, Poll};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ByCommand, Connected, Error, ErrorKind, HandshakeLayer,
    NoAuth, Outbound, Pinned, Relay, Request, Requested, ResolveLayer, Rules, Stage, StageFuture,
    Stream, SystemResolver, Target, Work,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tower::{Layer, Service, ServiceBuilder, layer::layer_fn, service_fn};

use crate::{client_of, hears, pinned};

#[derive(Clone)]
struct Bind<P, S> {
    judge: P,
    inner: S,
}

impl<Io, P, S> Service<Requested<Io>> for Bind<P, S>
where
    Io: Stream,
    P: Work<Request, Response = Pinned>,
    S: Stage<Connected<Io, TcpStream>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = StageFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        StageFuture::new(bind(self.judge.clone(), requested), self.inner.clone())
    }
}

async fn bind<Io, P>(judge: P, requested: Requested<Io>) -> Result<Connected<Io, TcpStream>, Error>
where
    Io: Stream,
    P: Work<Request, Response = Pinned>,
{
    let Requested {
        mut client,
        request,
        ..
    } = requested;
    let expected = match client.watch(judge.run(request.clone())).await? {
        Ok(pinned) => pinned,
        Err(error) => return Err(client.refuse(Error::from_box(error)).await),
    };
    let failed = |error: std::io::Error| Error::new(ErrorKind::Connect, error);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    client.grant(&bound.into()).await?;
    let (io, peer) = client.watch(listener.accept()).await?.map_err(failed)?;
    assert!(expected.addrs().iter().all(|addr| addr.ip() == peer.ip()));
    client.grant(&Target::from(peer)).await?;
    Ok(Connected::new(client, Outbound::new(io), request))
}

#[tokio::test]
async fn a_peer_reaches_the_client() {
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(service_fn(pinned));
    let bind = layer_fn(move |inner| Bind {
        judge: judge.clone(),
        inner,
    });
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(ByCommand::new().bind(bind.layer(Relay::new())));
    let (mut client, _session) = client_of(proxy);

    client
        .write_all(b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x00")
        .await
        .unwrap();
    hears(&mut client, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01").await;
    let port = tokio::io::AsyncReadExt::read_u16(&mut client)
        .await
        .unwrap();
    let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    peer.write_all(b"hello").await.unwrap();

    hears(&mut client, b"\x05\x00\x00\x01\x7f\x00\x00\x01").await;
    let port = tokio::io::AsyncReadExt::read_u16(&mut client)
        .await
        .unwrap();
    assert_eq!(port, peer.local_addr().unwrap().port());
    hears(&mut client, b"hello").await;
}
