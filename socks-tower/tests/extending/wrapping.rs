//! A client's stream, wrapped between the stages.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socks_tower::{
    Accepted, AuthenticateLayer, ClientStream, ConnectLayer, Connected, Greeted, HandshakeLayer,
    NoAuth, Relay, Requested,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tower::ServiceBuilder;

use crate::{client_of, connector, hears};

/// A stream that says everything in capitals.
#[derive(Debug)]
struct Loud<Io>(Io);

impl<Io: AsyncRead + Unpin> AsyncRead for Loud<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        buf.filled_mut()[before..].make_ascii_uppercase();
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Loud<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &buf.to_ascii_uppercase())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_client_s_stream_is_wrapped_between_any_two_stages() {
    const WORDS: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x09some.test\x00\x50";
    let connect = || {
        ServiceBuilder::new()
            .layer(ConnectLayer::new(connector()))
            .service(Relay::new())
    };
    let accepted = ServiceBuilder::new()
        .map_request(|accepted: Accepted<DuplexStream>| accepted.map_io(Loud))
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(connect());
    let greeted = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .map_request(|greeted: Greeted<DuplexStream>| greeted.map_io(Loud))
        .layer(AuthenticateLayer::new(NoAuth))
        .service(connect());
    let requested = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .map_request(|requested: Requested<ClientStream<DuplexStream>>| requested.map_io(Loud))
        .service(connect());
    let connected = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector()))
        .map_request(|connected: Connected<_, _>| connected.map_io(Loud::<ClientStream<_>>))
        .service(Relay::new());

    for (mut client, _session) in [
        client_of(accepted),
        client_of(greeted),
        client_of(requested),
        client_of(connected),
    ] {
        client.write_all(WORDS).await.unwrap();
        hears(&mut client, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0HELLO").await;
        client.write_all(b"ping").await.unwrap();
        hears(&mut client, b"PING").await;
    }
}
