//! A connector through another proxy: it takes names, so a chain resolves at
//! its end, and it nests.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use socks_core::{
    Decoded,
    client::{self, Event, Offer},
};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer, Connector, HandshakeLayer,
    IntoOutbound, NameRules, NoAuth, Outbound, Proxy, Refusal, Relay, ReplyCode, Request, Rules,
    Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::{client_of, connector, hears};

/// Reaches targets through the SOCKS5 proxy at `proxy`, which `inner` reaches.
#[derive(Clone)]
struct Through<C> {
    proxy: Target,
    inner: C,
}

impl<C: Connector<Request>> Service<Request> for Through<C> {
    type Response = Outbound<C::Io>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outbound<C::Io>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { proxy, inner } = self.clone();
        let mut client = client::Client::v5(Offer::none(), request.command, request.target.clone());
        Box::pin(async move {
            let answer = inner.oneshot(request.with_target(proxy)).await;
            let mut upstream = answer.map_err(Into::into)?.into_outbound();
            let (mut out, mut input) = (Vec::new(), Vec::new());
            client.start(&mut out)?;
            loop {
                upstream.io.write_all(&out).await?;
                out.clear();
                match client.receive(&input, &mut out) {
                    Ok(Decoded::Incomplete { needed }) => {
                        // Exactly so much: what follows the reply is the target's.
                        let had = input.len();
                        input.resize(had + needed, 0);
                        upstream.io.read_exact(&mut input[had..]).await?;
                    }
                    Ok(Decoded::Complete { message, consumed }) => {
                        input.drain(..consumed);
                        if let Event::Granted(_) = message {
                            return Ok(upstream);
                        }
                    }
                    Err(client::Error::Refused(client::FailureCode::V5(code))) => {
                        return Err(Refusal::new(code, "the upstream proxy refused")?.into());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        })
    }
}

/// A proxy whose targets are reached by `connector`.
fn proxy(
    connector: impl Connector<Request> + Sync,
) -> impl Proxy<DuplexStream, Future: Send> + Clone + Send {
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

/// Reaches `proxy`, whatever the request.
fn to_proxy(
    proxy: impl Proxy<DuplexStream, Future: Send> + Clone + Send + Sync + 'static,
) -> impl Connector<Request, Io = DuplexStream> + Sync {
    service_fn(move |_: Request| {
        let (client, _session) = client_of(proxy.clone());
        async move { Ok::<_, Infallible>(client) }
    })
}

const HELLO: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x00\x50";
const GRANTED: &[u8] = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

#[tokio::test]
async fn a_chain_of_proxies_is_nesting() {
    let last = proxy(connector());
    let hop = Through {
        proxy: "proxy.example:1080".parse().unwrap(),
        inner: to_proxy(last),
    };
    let middle = proxy(hop.clone());
    let chain = Through {
        proxy: "first.example:1080".parse().unwrap(),
        inner: to_proxy(middle),
    };
    let first = proxy(
        ServiceBuilder::new()
            .layer(AuthorizeLayer::new(NameRules::new(Rules::new())))
            .service(chain),
    );
    let (mut client, _session) = client_of(first);

    client.write_all(HELLO).await.unwrap();

    hears(&mut client, GRANTED).await;
    hears(&mut client, b"hello").await;
}

#[tokio::test]
async fn what_the_upstream_proxy_says_of_the_target_is_what_the_client_hears() {
    let refusing = service_fn(|_: Request| async {
        Err::<DuplexStream, _>(Refusal::new(ReplyCode::ONION_AUTH_MISSING, "no").unwrap())
    });
    let hop = Through {
        proxy: "proxy.example:1080".parse().unwrap(),
        inner: to_proxy(proxy(refusing)),
    };
    let (mut client, _session) = client_of(proxy(hop));

    client.write_all(HELLO).await.unwrap();

    hears(&mut client, b"\x05\x00\x05\xf4").await;
}
