//! UDP ASSOCIATE: a command that is an end of the stack itself, and asks the
//! same judge as CONNECT about each destination.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use socks_core::{Decode, Decoded, Encode, v5::udp::Header};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BoxError, ByCommand, Error, ErrorKind, HandshakeLayer,
    NoAuth, Pinned, Request, Requested, ResolveLayer, Rules, Stream, SystemResolver, Transfer,
    Work,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};
use tower::{Service, ServiceBuilder, service_fn};

use crate::{client_of, hears, pinned};

#[derive(Clone)]
struct Associate<P> {
    judge: P,
}

impl<Io: Stream, P: Work<Request, Response = Pinned> + Sync> Service<Requested<Io>>
    for Associate<P>
{
    type Response = Transfer;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let judge = self.judge.clone();
        Box::pin(async move {
            let Requested {
                mut client,
                request,
                ..
            } = requested;
            let failed = |error: std::io::Error| Error::new(ErrorKind::Relay, error);
            let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(failed)?;
            let bound = socket.local_addr().map_err(failed)?;
            client.grant(&bound.into()).await?;
            let relayed = client.watch(relay_one(&socket, judge, request)).await?;
            relayed.map_err(|error| Error::new(ErrorKind::Relay, error))?;
            Ok(Transfer::default())
        })
    }
}

/// One datagram out, and its answer back.
async fn relay_one<P>(socket: &UdpSocket, judge: P, request: Request) -> Result<(), BoxError>
where
    P: Work<Request, Response = Pinned>,
{
    let mut datagram = [0; 512];
    let (len, client_addr) = socket.recv_from(&mut datagram).await?;
    let Decoded::Complete { message, consumed } = Header::decode(&datagram[..len])? else {
        return Err("a short header".into());
    };
    let request = request.with_target(message.target.clone());
    let allowed = judge.run(request).await?;
    let data = &datagram[consumed..len];
    socket.send_to(data, allowed.addrs()[0]).await?;
    let mut answer = [0; 512];
    let (len, from) = socket.recv_from(&mut answer).await?;
    let mut out = Header {
        target: from.into(),
        ..message
    }
    .to_bytes();
    out.extend(&answer[..len]);
    socket.send_to(&out, client_addr).await?;
    Ok(())
}

#[tokio::test]
async fn a_datagram_goes_out_and_its_answer_comes_back() {
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(service_fn(pinned));
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(ByCommand::new().udp_associate(Associate { judge }));
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target_addr = target.local_addr().unwrap();
    let (mut client, session) = client_of(proxy);

    client
        .write_all(b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
        .await
        .unwrap();
    hears(&mut client, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01").await;
    let port = client.read_u16().await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let header = Header {
        fragment: socks_core::v5::udp::Fragment::STANDALONE,
        target: target_addr.into(),
    };
    let mut datagram = header.to_bytes();
    datagram.extend(b"ping");
    socket
        .send_to(&datagram, ("127.0.0.1", port))
        .await
        .unwrap();

    let mut heard = [0; 64];
    let (len, relay) = target.recv_from(&mut heard).await.unwrap();
    assert_eq!(&heard[..len], b"ping");
    target.send_to(b"pong", relay).await.unwrap();
    let len = socket.recv(&mut heard).await.unwrap();
    assert!(heard[..len].ends_with(b"pong"));
    assert!(session.await.unwrap().is_ok());
}
