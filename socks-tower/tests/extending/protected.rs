//! An authentication method that wraps all that follows, as GSS-API does.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use socks_core::Encode;
use socks_core::v5::gssapi::{Message, MessageType, Token};
use socks_tower::{
    Admitted, AuthMethod, AuthenticateLayer, BoxError, BoxStream, ConnectLayer, HandshakeLayer,
    Identity, Method, Negotiation, Relay,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tower::ServiceBuilder;

use crate::{client_of, connector, hears};

/// Exchanges one token, then inverts every byte: a protection of sorts.
struct Inverting;

fn token(bytes: &[u8]) -> Message {
    Message::Token {
        message_type: MessageType::Context,
        token: Token::new(bytes.to_vec()).unwrap(),
    }
}

#[async_trait]
impl AuthMethod for Inverting {
    fn code(&self) -> Method {
        Method::GSSAPI
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let message: Message = client.read_message().await?;
        if message != token(b"joe@REALM") {
            client.write_all(&Message::Abort.to_bytes()).await?;
            return Err("an unknown token".into());
        }
        client.write_all(&token(b"").to_bytes()).await?;
        Ok(Admitted::from(Identity::new("joe@REALM")).with_wrap(Inverted))
    }
}

struct Inverted(BoxStream);

impl AsyncRead for Inverted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        for byte in &mut buf.filled_mut()[before..] {
            *byte = !*byte;
        }
        polled
    }
}

impl AsyncWrite for Inverted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &inverted(buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

fn proxy() -> impl socks_tower::Proxy<tokio::io::DuplexStream, Future: Send> + Send {
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(Inverting))
        .layer(ConnectLayer::new(connector()))
        .service(Relay::new())
}

#[tokio::test]
async fn request_reply_and_data_all_run_on_the_wrapped_stream() {
    let (mut client, _session) = client_of(proxy());
    let mut sent = b"\x05\x01\x01".to_vec();
    token(b"joe@REALM").encode(&mut sent);
    sent.extend(inverted(b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50early"));

    // All in one segment: what was read too far lies beneath the wrapper.
    client.write_all(&sent).await.unwrap();

    hears(&mut client, b"\x05\x01\x01\x01\x00\x00").await;
    let reply = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
    hears(&mut client, &inverted(reply)).await;
    hears(&mut client, &inverted(b"helloearly")).await;
}

#[tokio::test]
async fn a_refusal_is_in_the_method_s_own_words() {
    let (mut client, session) = client_of(proxy());
    client
        .write_all(b"\x05\x01\x01\x01\x01\x00\x01x")
        .await
        .unwrap();

    hears(&mut client, b"\x05\x01\x01\xff").await;
    drop(client);
    assert!(session.await.unwrap().is_err());
}
