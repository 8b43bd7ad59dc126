//! Before the servers of other crates.

use std::time::Duration;

use fast_socks5::server::{DnsResolveHelper as _, Socks5ServerProtocol, run_tcp_proxy};
use socks_tests::{
    client::assert_echoes,
    origin::{ClosedPort, Origin, V4, V6},
};
use socks_tower::{
    Credentials, Error, ReplyCode, Socks5Connector, UpstreamError, UpstreamFailure,
    works::upstream::{Offer, connect, direct},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::assert_reaches;

/// fast-socks5's server, with the password `secret` for `joe`, or without.
async fn fast_socks5(with_password: bool) -> Origin {
    Origin::serve(V4, move |client| async move {
        let protocol = if with_password {
            let check = |name: String, password: String| name == "joe" && password == "secret";
            let accepted = Socks5ServerProtocol::accept_password_auth(client, check).await;
            accepted.map(|(protocol, _)| protocol)
        } else {
            Socks5ServerProtocol::accept_no_auth(client).await
        };
        let Ok(protocol) = protocol else { return };
        let Ok(asked) = protocol.read_command().await else {
            return;
        };
        let Ok((protocol, _, target)) = asked.resolve_dns().await else {
            return;
        };
        let _ = run_tcp_proxy(protocol, &target, Duration::from_secs(10), true).await;
    })
    .await
}

fn joe() -> Credentials {
    Credentials::new("joe", "secret").unwrap()
}

#[tokio::test]
async fn fast_socks5_s_server_is_gone_through() {
    let (v4, v6) = (Origin::echo(V4).await, Origin::echo(V6).await);
    let open = fast_socks5(false).await;
    let connector = Socks5Connector::new(open.addr().into(), direct());
    assert_reaches(&connector, v4.addr()).await;
    assert_reaches(&connector, v6.addr()).await;
    // What more we offer is no hindrance.
    assert_reaches(&connector.with_credentials(joe()), v4.addr()).await;

    let guarded = fast_socks5(true).await;
    let connector = Socks5Connector::new(guarded.addr().into(), direct()).with_credentials(joe());
    assert_reaches(&connector, v4.addr()).await;
    assert_reaches(&connector.with_one_flight(), v4.addr()).await;
}

#[tokio::test]
async fn fast_socks5_s_server_refuses_us_or_the_target() {
    let closed = ClosedPort::new();
    let failure = |error: socks_tower::BoxError| {
        let error = error.downcast::<Error>().unwrap();
        let said = error
            .get_ref()
            .unwrap()
            .downcast_ref::<UpstreamError>()
            .unwrap();
        (said.failure(), said.code())
    };
    let guarded = fast_socks5(true).await;
    let wrong = Credentials::new("joe", "guess").unwrap();
    let unknown = Socks5Connector::new(guarded.addr().into(), direct()).with_credentials(wrong);
    let error = crate::connect(&unknown, closed.addr()).await.unwrap_err();
    assert_eq!(failure(error), (UpstreamFailure::RefusedUs, None));

    let known = Socks5Connector::new(guarded.addr().into(), direct()).with_credentials(joe());
    let error = crate::connect(&known, closed.addr()).await.unwrap_err();
    let refused = (
        UpstreamFailure::RefusedTarget,
        Some(ReplyCode::CONNECTION_REFUSED),
    );
    assert_eq!(failure(error), refused);
}

#[tokio::test]
async fn a_stream_that_is_there_already_becomes_the_target_s() {
    let origin = Origin::banner(V4, "hello").await;
    let proxy = fast_socks5(true).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let offer = Offer::password(joe()).or(Offer::none());
    connect(&mut stream, offer, origin.addr().into())
        .await
        .unwrap();
    let mut banner = [0; 5];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"hello");
    assert_echoes(&mut stream, b"and back").await;
}
