//! curl: each of its four flags for SOCKS.

use socks_tests::{
    child::Child,
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
    program::{self, Ran},
};

use crate::{LOGIN, open, strict, with_password};

const FILE: Content = Content::mib(64);

/// What curl's exit code says of a proxy that could not help.
const PROXY: i32 = 97;

async fn curl(args: &[&str]) -> Ran {
    // Nothing from ~/.curlrc; no progress meter, but errors.
    let args = [&["-q", "--silent", "--show-error"], args].concat();
    program::run("curl", "curl", &args).await
}

/// Fetches the file at `target` through `child`, and checks it.
async fn assert_fetches(child: &Child, flags: &[&str], target: &str) {
    let (proxy, url) = (child.addr().to_string(), format!("http://{target}/"));
    let page = curl(&[flags, &[&proxy, &url]].concat())
        .await
        .expect_success();
    FILE.assert_is(&page);
}

/// Fails to fetch from `target` through `child`, with `message`.
async fn assert_refused(child: &Child, flags: &[&str], target: &str, message: &str) {
    let (proxy, url) = (child.addr().to_string(), format!("http://{target}/"));
    let ran = curl(&[flags, &[&proxy, &url]].concat()).await;
    ran.expect_failure(PROXY, message);
}

#[tokio::test]
#[ignore = "needs curl"]
async fn every_flag_fetches_the_file() {
    let (v4, v6) = (Origin::http(V4, FILE).await, Origin::http(V6, FILE).await);
    let by_name = format!("localhost:{}", v4.port());
    let (v4, v6) = (v4.addr().to_string(), v6.addr().to_string());
    let proxy = open().await;
    for (flag, target) in [
        ("--socks4", &v4),
        ("--socks4a", &v4),
        ("--socks4a", &by_name),
        ("--socks5", &v4),
        ("--socks5", &v6),
        ("--socks5-hostname", &v4),
        ("--socks5-hostname", &v6),
        ("--socks5-hostname", &by_name),
    ] {
        assert_fetches(&proxy, &[flag], target).await;
    }
    // curl looks the name up itself, here.
    for flag in ["--socks4", "--socks5"] {
        assert_fetches(&proxy, &["-4", flag], &by_name).await;
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn a_login_fetches_the_file() {
    let origin = Origin::http(V4, FILE).await;
    let target = origin.addr().to_string();
    let proxy = with_password().await;
    for flag in ["--socks5", "--socks5-hostname"] {
        assert_fetches(&proxy, &["--proxy-user", LOGIN, flag], &target).await;
    }
    // A proxy without users does not mind one, nor SOCKS4's user id.
    let proxy = open().await;
    for flag in ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"] {
        assert_fetches(&proxy, &["-U", LOGIN, flag], &target).await;
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn who_is_not_let_in_hears_so() {
    let origin = Origin::http(V4, FILE).await;
    let target = origin.addr().to_string();
    let proxy = with_password().await;
    for flag in ["--socks5", "--socks5-hostname"] {
        let wrong = ["-U", "joe:guess", flag];
        assert_refused(&proxy, &wrong, &target, "User was rejected").await;
        assert_refused(
            &proxy,
            &[flag],
            &target,
            "No authentication method was acceptable",
        )
        .await;
    }
    for flag in ["--socks4", "--socks4a"] {
        let message = "(91), request rejected or failed";
        assert_refused(&proxy, &["-U", LOGIN, flag], &target, message).await;
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn the_reply_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let closed = closed.addr().to_string();
    let (open, strict) = (open().await, strict().await);
    // `.invalid` is never anybody's, by RFC 2606.
    let unknown = "no-such-name.invalid:80";
    for flag in ["--socks5", "--socks5-hostname"] {
        assert_refused(&open, &[flag], &closed, "(5)").await;
        assert_refused(&strict, &[flag], &closed, "(2)").await;
    }
    assert_refused(&open, &["--socks5-hostname"], unknown, "(4)").await;
    assert_refused(&strict, &["--socks5-hostname"], "localhost:80", "(2)").await;
    for flag in ["--socks4", "--socks4a"] {
        assert_refused(&open, &[flag], &closed, "(91), request rejected or failed").await;
        assert_refused(
            &strict,
            &[flag],
            &closed,
            "(91), request rejected or failed",
        )
        .await;
    }
    assert_refused(&open, &["--socks4a"], unknown, "(91)").await;
}

#[tokio::test]
#[ignore = "needs curl"]
async fn without_socks_it_gets_a_page_at_once() {
    let proxy = open().await;
    let url = format!("http://{}/", proxy.addr());
    let ran = curl(&["--max-time", "5", &url]).await;
    let page = String::from_utf8(ran.expect_success()).unwrap();
    assert!(page.contains("SOCKS"), "{page}");
}

#[tokio::test]
#[ignore = "needs curl"]
async fn without_socks_it_fetches_the_file_by_plain_http() {
    let (proxy, origin) = (open().await, Origin::http(V4, FILE).await);
    let proxy_url = format!("http://{}", proxy.addr());
    let url = format!("http://{}/", origin.addr());
    let page = curl(&["--proxy", &proxy_url, &url]).await.expect_success();
    FILE.assert_is(&page);
}
