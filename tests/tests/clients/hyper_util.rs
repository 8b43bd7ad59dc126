//! The connectors of `hyper-util`, by themselves and under its HTTP client.

use http::Uri;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{
            Connect, HttpConnector,
            proxy::{SocksV4, SocksV5},
        },
    },
    rt::TokioExecutor,
};
use socks_tests::{
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
    proxy::Proxy,
};
use tower::{Service, ServiceExt};

use crate::{NAME, NAME_V6, NO_NAME, open, strict, with_password};

const PAGE: Content = Content::mib(2);

fn socks5(proxy: &Proxy) -> SocksV5<HttpConnector> {
    SocksV5::new(uri(proxy.addr()), HttpConnector::new())
}

fn socks4(proxy: &Proxy) -> SocksV4<HttpConnector> {
    SocksV4::new(uri(proxy.addr()), HttpConnector::new())
}

fn uri(authority: impl std::fmt::Display) -> Uri {
    format!("http://{authority}").parse().unwrap()
}

/// Fetches the page twice, the second time over the same tunnel.
async fn assert_fetches<C>(connector: C, uri: Uri)
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector);
    for _ in 0..2 {
        let response = client.get(uri.clone()).await.unwrap();
        let page = response.into_body().collect().await.unwrap().to_bytes();
        PAGE.assert_is(&page);
    }
}

/// Why `connector` has no tunnel to `authority`, in hyper-util's words.
async fn refusal<C>(connector: C, authority: impl std::fmt::Display) -> String
where
    C: Service<Uri, Error: std::fmt::Display>,
{
    match connector.oneshot(uri(authority)).await {
        Ok(_) => panic!("it was let through"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn socks5_reaches_addresses_and_names() {
    let (v4, v6) = (Origin::http(V4, PAGE).await, Origin::http(V6, PAGE).await);
    let proxy = open().await;
    assert_fetches(socks5(&proxy), uri(v4.addr())).await;
    assert_fetches(socks5(&proxy), uri(v6.addr())).await;
    assert_fetches(socks5(&proxy), uri(format_args!("{NAME}:{}", v4.port()))).await;
    assert_fetches(socks5(&proxy), uri(format_args!("{NAME_V6}:{}", v6.port()))).await;
    let local = socks5(&proxy).local_dns(true);
    assert_fetches(local, uri(format_args!("127.0.0.1:{}", v4.port()))).await;
}

#[tokio::test]
async fn greeting_password_and_request_may_come_at_once() {
    let origin = Origin::http(V4, PAGE).await;
    let target = format!("{NAME}:{}", origin.port());
    let optimistic = |proxy: &Proxy| socks5(proxy).send_optimistically(true);
    assert_fetches(optimistic(&open().await), uri(&target)).await;

    let proxy = with_password().await;
    let login = |password: &str| optimistic(&proxy).with_auth("joe".into(), password.into());
    assert_fetches(login("s3cret@!"), uri(&target)).await;
    // The request lies unread behind the wrong password. A reset because of it
    // would take the answer away.
    for _ in 0..50 {
        let refusal = refusal(login("guess"), &target).await;
        assert_eq!(refusal, "SOCKS error: credentials not accepted");
    }
    let refusal = refusal(optimistic(&proxy), &target).await;
    assert_eq!(
        refusal,
        "SOCKS error: server does not support user/pass authentication"
    );
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_does_not() {
    let origin = Origin::http(V4, PAGE).await;
    let proxy = with_password().await;
    let login = |password: &str| socks5(&proxy).with_auth("joe".into(), password.into());
    assert_fetches(login("s3cret@!"), uri(origin.addr())).await;
    for wrong in ["guess", ""] {
        let refusal = refusal(login(wrong), origin.addr()).await;
        assert_eq!(refusal, "SOCKS error: credentials not accepted");
    }
}

#[tokio::test]
async fn socks5_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let (open, strict) = (open().await, strict().await);
    let refused = refusal(socks5(&open), closed.addr()).await;
    assert_eq!(refused, "SOCKS error: connection refused");
    let unknown = refusal(socks5(&open), format_args!("{NO_NAME}:80")).await;
    assert_eq!(unknown, "SOCKS error: host unreachable");
    let denied = refusal(socks5(&strict), closed.addr()).await;
    assert_eq!(denied, "SOCKS error: connection not allowed");
}

#[tokio::test]
async fn socks4_and_4a_reach_addresses_and_names() {
    let (v4, v6) = (Origin::http(V4, PAGE).await, Origin::http(V6, PAGE).await);
    let proxy = open().await;
    assert_fetches(socks4(&proxy), uri(v4.addr())).await;
    assert_fetches(socks4(&proxy), uri(format_args!("{NAME}:{}", v4.port()))).await;
    assert_fetches(socks4(&proxy), uri(format_args!("{NAME_V6}:{}", v6.port()))).await;
}

#[tokio::test]
async fn socks4_is_refused_with_91_whatever_the_reason() {
    let closed = ClosedPort::new();
    let failed = "SOCKS error: server failed to execute command";
    let refused = refusal(socks4(&open().await), closed.addr()).await;
    assert_eq!(refused, failed);
    let denied = refusal(socks4(&strict().await), closed.addr()).await;
    assert_eq!(denied, failed);
    let not_let_in = refusal(socks4(&with_password().await), closed.addr()).await;
    assert_eq!(not_let_in, failed);
}
