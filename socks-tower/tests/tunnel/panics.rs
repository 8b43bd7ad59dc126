//! A panic in a user's work ends the session that it works for, and no other.

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    task::{Context, Poll},
};

use socks_tower::{
    Accepted, Attempt, AuthenticateLayer, DomainName, Identity, Pinned, Request, TcpConnector,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tower::{Service, ServiceBuilder, service_fn};

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{all_and_how, hears},
};

/// Panics at port 1 as it is called, at port 2 in its future.
#[derive(Clone)]
struct Panicking(TcpConnector);

impl Service<Request<Pinned>> for Panicking {
    type Response = <TcpConnector as Service<Request<Pinned>>>::Response;
    type Error = <TcpConnector as Service<Request<Pinned>>>::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        let port = request.target.target().port;
        assert_ne!(port, 1, "as the test wants it");
        let dial = self.0.call(request);
        Box::pin(async move {
            assert_ne!(port, 2, "as the test wants it");
            dial.await
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_panics_ends_one_session() {
    let stack = ServiceBuilder::new()
        .concurrency_limit(2)
        .service(socks(Panicking(TcpConnector::new())));
    let proxy = Proxy::of(stack).await;
    let (mut client, mut target) = proxy.tunnel(Speaks::V5).await;
    for speaks in Speaks::ALL {
        for bad in ["127.0.0.1:1", "127.0.0.1:2"] {
            let mut unlucky = proxy.client().await;
            let words = speaks.connect(bad.parse().unwrap());
            unlucky.write_all(&words).await.unwrap();
            let (found, _) = all_and_how(&mut unlucky).await;
            // It never reads as a success.
            assert_eq!(found, speaks.preamble());
        }
        // Its place is free again.
        proxy.tunnel(speaks).await;
    }
    client.write_all(b"still here").await.unwrap();
    hears(&mut target, b"still here").await;
}

async fn panics<Request, Response>(_: Request) -> Result<Response, Infallible> {
    panic!("as the test wants it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_panics_ends_one_session() {
    let panicking = service_fn(panics::<Request<DomainName>, [IpAddr; 1]>);
    let proxy = Proxy::of(socks(TcpConnector::new()).with_resolver(panicking)).await;
    let mut unlucky = proxy.client().await;
    let words = Speaks::V4a.connect("127.0.0.1:1".parse().unwrap());
    unlucky.write_all(&words).await.unwrap();
    assert_eq!(all_and_how(&mut unlucky).await.0, b"");
    proxy.tunnel(Speaks::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_panics_ends_one_session() {
    let panicking = service_fn(panics::<Attempt, Identity>);
    let auth = AuthenticateLayer::password(panicking).or(socks_tower::NoAuth);
    let proxy = Proxy::of(socks(TcpConnector::new()).with_auth(auth)).await;
    let mut unlucky = proxy.client().await;
    let words = Speaks::V5Password.connect("127.0.0.1:1".parse().unwrap());
    unlucky.write_all(&words).await.unwrap();
    assert_eq!(all_and_how(&mut unlucky).await.0, b"\x05\x02");
    proxy.tunnel(Speaks::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_panics_as_it_is_called_ends_one_session() {
    // Outermost, where the server itself calls it.
    let mut first = true;
    let stack = ServiceBuilder::new()
        .concurrency_limit(1)
        .map_request(move |accepted: Accepted<TcpStream>| {
            assert!(!std::mem::take(&mut first), "as the test wants it");
            accepted
        })
        .service(socks(TcpConnector::new()));
    let proxy = Proxy::of(stack).await;
    let mut unlucky = proxy.client().await;
    assert_eq!(all_and_how(&mut unlucky).await.0, b"");
    proxy.tunnel(Speaks::V5).await;
}
