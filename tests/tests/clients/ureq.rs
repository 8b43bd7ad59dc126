//! The crate `ureq`, which is told of the proxy by an address such as
//! `socks5h://name:password@host`. Of its methods it names the password first.

use socks_tests::{
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
    proxy::Proxy as Ours,
};
use ureq::{Agent, Error, Proxy};

use crate::{NAME, NAME_V6, NO_NAME, open, strict, with_password};

const PAGE: Content = Content::mib(2);

/// Fetches a page from `target` through `proxy`.
async fn fetch(scheme: &str, login: &str, proxy: &Ours, target: String) -> Result<Vec<u8>, Error> {
    let proxy = Proxy::new(&format!("{scheme}://{login}{}", proxy.addr()))?;
    // It blocks.
    let fetched = tokio::task::spawn_blocking(move || {
        let agent = Agent::from(Agent::config_builder().proxy(Some(proxy)).build());
        let mut response = agent.get(format!("http://{target}/")).call()?;
        response.body_mut().read_to_vec()
    });
    fetched.await.unwrap()
}

/// Why a page cannot be fetched.
async fn refusal(scheme: &str, login: &str, proxy: &Ours, target: String) -> String {
    let fetched = fetch(scheme, login, proxy, target).await;
    fetched.unwrap_err().to_string()
}

#[tokio::test]
async fn every_scheme_fetches_a_page() {
    let (v4, v6) = (Origin::http(V4, PAGE).await, Origin::http(V6, PAGE).await);
    let proxy = open().await;
    for (scheme, target) in [
        ("socks4", v4.addr().to_string()),
        ("socks4a", v4.addr().to_string()),
        ("socks4a", format!("{NAME}:{}", v4.port())),
        ("socks4a", format!("{NAME_V6}:{}", v6.port())),
        ("socks5", v4.addr().to_string()),
        ("socks5", v6.addr().to_string()),
        ("socks5h", v4.addr().to_string()),
        ("socks5h", v6.addr().to_string()),
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
        let wrong = refusal(scheme, "joe:guess@", &proxy, target()).await;
        assert!(wrong.contains("password authentication failed"), "{wrong}");
        let none = refusal(scheme, "", &proxy, target()).await;
        assert!(none.contains("no acceptable auth methods"), "{none}");
    }
}

#[tokio::test]
async fn a_login_is_not_asked_for_where_nobody_needs_one() {
    let origin = Origin::http(V4, PAGE).await;
    let proxy = open().await;
    let page = fetch("socks5h", "joe:any@", &proxy, origin.addr().to_string()).await;
    PAGE.assert_is(&page.unwrap());
}

#[tokio::test]
async fn the_error_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let target = || closed.addr().to_string();
    let (open, strict) = (open().await, strict().await);
    let refused = refusal("socks5h", "", &open, target()).await;
    assert!(refused.contains("connection refused"), "{refused}");
    let unknown = refusal("socks5h", "", &open, format!("{NO_NAME}:80")).await;
    assert!(unknown.contains("host unreachable"), "{unknown}");
    let denied = refusal("socks5h", "", &strict, target()).await;
    assert!(denied.contains("connection not allowed"), "{denied}");
    for proxy in [&open, &strict] {
        let rejected = refusal("socks4a", "", proxy, target()).await;
        assert!(
            rejected.contains("request rejected or failed"),
            "{rejected}"
        );
    }
}
