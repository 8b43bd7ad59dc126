use std::convert::Infallible;

use socks_core::Target;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tower::{Layer, Service, service_fn};

use super::*;
use crate::{
    session::{
        BoxStream, Connector, Error, IntoOutbound, Outbound, Request, Work,
        gssapi::{Fake, FakeClient},
    },
    stages::{
        authenticate::{AuthenticateLayer, gssapi::GssApi},
        handshake::HandshakeLayer,
    },
    test_support::{Stop, accepted},
    works::upstream::{Socks5Connector, UpstreamError, UpstreamFailure},
};

/// Reaches a proxy whose clients' commands are granted, and whose target says back what it
/// hears.
fn proxy(method: impl Fn() -> GssApi + Clone + Send + 'static) -> impl Connector<Request> {
    service_fn(move |_: Request| {
        let (near, far) = duplex(1 << 16);
        let auth = AuthenticateLayer::new(method());
        tokio::spawn(async move {
            let mut stack = HandshakeLayer::new().layer(auth.layer(Stop));
            let mut requested = stack.call(accepted(far)).await?;
            let bound = "192.0.2.1:7".parse().unwrap();
            requested.client.grant(&bound).await?;
            let (mut read, mut write) = tokio::io::split(requested.client.into_stream());
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
            Ok::<_, Error>(())
        });
        async move { Ok::<DuplexStream, Infallible>(near) }
    })
}

fn server() -> GssApi {
    GssApi::with_acceptor(Fake::new())
}

fn client() -> GssApiClient {
    GssApiClient::with_initiator(FakeClient(Fake::new()))
}

async fn connect(
    client: GssApiClient,
    server: impl Fn() -> GssApi + Clone + Send + 'static,
) -> Result<Outbound<BoxStream>, Error> {
    let connector = Socks5Connector::new("proxy.example:1080".parse().unwrap(), proxy(server));
    let target: Target = "target.example:80".parse().unwrap();
    let request = Request::new(Session::new(), Command::CONNECT, target);
    let connected = connector.with_method(client).run(request).await;
    connected
        .map(IntoOutbound::into_outbound)
        .map_err(Error::from_box)
}

fn failure(error: &Error) -> UpstreamFailure {
    let upstream = error.get_ref().unwrap().downcast_ref::<UpstreamError>();
    upstream.unwrap().failure()
}

#[tokio::test]
async fn what_is_sent_comes_back_at_each_level() {
    for (asks, least, open) in [
        (Protection::Integrity, Protection::Integrity, false),
        (Protection::Confidentiality, Protection::Integrity, false),
        (Protection::Integrity, Protection::Confidentiality, false),
        (Protection::Unprotected, Protection::Integrity, true),
    ] {
        let client = client()
            .with_protection(asks)
            .with_least(Protection::Unprotected);
        let server = move || match open {
            true => server().allow_unprotected(),
            false => server().with_least(least),
        };
        let mut upstream = connect(client, server).await.unwrap().io;
        let sent: Vec<u8> = (0..300_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let (mut read, mut write) = tokio::io::split(&mut upstream);
        let writing = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(writing, read.read_to_end(&mut heard));
        read.unwrap();
        assert_eq!(heard.len(), sent.len(), "{asks:?} of {least:?}");
        assert_eq!(heard, sent);
    }
}

#[tokio::test]
async fn less_protection_than_is_wanted_is_not_taken() {
    let unprotected = || server().allow_unprotected();
    let downgrades = || server().allow_downgrade();
    let strict = client().with_least(Protection::Confidentiality);
    let asks_none = client().with_protection(Protection::Unprotected);
    let asks_little = strict.clone().with_protection(Protection::Integrity);
    for error in [
        connect(asks_none, unprotected).await.unwrap_err(),
        connect(asks_little, server).await.unwrap_err(),
        connect(client(), downgrades).await.unwrap_err(),
    ] {
        assert_eq!(failure(&error), UpstreamFailure::RefusedUs, "{error:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_or_does_not_show_who_it_is_is_not_trusted() {
    let nobody = || {
        let nobody = service_fn(|_: crate::Attempt<crate::Principal>| async {
            Err::<crate::Identity, _>("nobody is let in")
        });
        server().with_verifier(nobody)
    };
    let error = connect(client(), nobody).await.unwrap_err();
    assert_eq!(failure(&error), UpstreamFailure::RefusedUs);
    assert!(format!("{error:?}").contains("Refused"), "{error:?}");

    let one_sided = Fake::new().with(|facts| facts.mutual = false);
    let client = GssApiClient::with_initiator(FakeClient(one_sided.clone()));
    let server = move || GssApi::with_acceptor(one_sided.clone());
    let error = connect(client, server).await.unwrap_err();
    assert!(format!("{error:?}").contains("NotMutual"), "{error:?}");
}
