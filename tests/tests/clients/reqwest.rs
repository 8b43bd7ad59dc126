//! The crate `reqwest`, by proxy addresses of every scheme that it knows.

use reqwest::{Client, Error, Proxy};
use socks_tests::{
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
    proxy::Proxy as Ours,
};

use crate::{NAME, NAME_V6, NO_NAME, open, strict, with_password};

const PAGE: Content = Content::mib(2);

/// Fetches a page from `target` through `proxy`.
async fn fetch(scheme: &str, login: &str, proxy: &Ours, target: String) -> Result<Vec<u8>, Error> {
    let proxy = Proxy::all(format!("{scheme}://{login}{}", proxy.addr()))?;
    // It insists on a TLS, which no page here is fetched over.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().proxy(proxy).tls_certs_only([]).build()?;
    let response = client.get(format!("http://{target}/")).send().await?;
    Ok(response.bytes().await?.to_vec())
}

#[tokio::test]
async fn every_scheme_fetches_a_page() {
    let (v4, v6) = (Origin::http(V4, PAGE).await, Origin::http(V6, PAGE).await);
    let proxy = open().await;
    for (scheme, target) in [
        ("socks4", v4.addr().to_string()),
        ("socks4a", format!("{NAME}:{}", v4.port())),
        ("socks5", v4.addr().to_string()),
        ("socks5h", format!("{NAME}:{}", v4.port())),
        ("socks5h", format!("{NAME_V6}:{}", v6.port())),
    ] {
        let page = fetch(scheme, "", &proxy, target).await;
        PAGE.assert_is(&page.unwrap());
    }
}

#[tokio::test]
async fn a_login_in_the_address_lets_in_and_a_wrong_one_does_not() {
    let origin = Origin::http(V4, PAGE).await;
    let target = || origin.addr().to_string();
    let proxy = with_password().await;
    for scheme in ["socks5", "socks5h"] {
        let page = fetch(scheme, "joe:s3cret%40!@", &proxy, target()).await;
        PAGE.assert_is(&page.unwrap());
        for login in ["joe:guess@", ""] {
            let refused = fetch(scheme, login, &proxy, target()).await;
            assert!(refused.unwrap_err().is_connect());
        }
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_an_error_of_the_connection() {
    let closed = ClosedPort::new();
    let (open, strict) = (open().await, strict().await);
    for (proxy, target) in [
        (&open, closed.addr().to_string()),
        (&open, format!("{NO_NAME}:80")),
        (&strict, closed.addr().to_string()),
    ] {
        for scheme in ["socks4a", "socks5h"] {
            let refused = fetch(scheme, "", proxy, target.clone()).await;
            assert!(refused.unwrap_err().is_connect());
        }
    }
}
