//! curl, as a client of an HTTP proxy, through `socks-proxy`.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use socks_tests::{
    child::Child,
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
    program::{self, Ran},
};

const FILE: Content = Content::mib(4);
const LOGIN: &str = "joe:s3cret@!";

/// curl's exit code for a CONNECT that was refused.
const RECEIVE: i32 = 56;

/// Fetches from `target` through a tunnel of `child`.
async fn curl(child: &Child, flags: &[&str], target: &str) -> Ran {
    let (proxy, url) = (
        format!("http://{}", child.addr()),
        format!("http://{target}/"),
    );
    let tunnel = ["-q", "--silent", "--show-error", "--proxytunnel"];
    let through = ["--proxy", &proxy, &url];
    program::run("curl", "curl", &[&tunnel, flags, &through].concat()).await
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_fetches_through_an_http_proxy() {
    let (v4, v6) = (Origin::http(V4, FILE).await, Origin::http(V6, FILE).await);
    let by_name = format!("localhost:{}", v4.port());
    let proxy = Child::start(&["--allow-private"]).await;
    for target in [v4.addr().to_string(), v6.addr().to_string(), by_name] {
        for flags in [&[][..], &["--proxy1.0"], &["--proxy-user", LOGIN]] {
            // `--proxy1.0` names the proxy itself.
            let ran = if flags == ["--proxy1.0"] {
                let proxy = proxy.addr().to_string();
                let url = format!("http://{target}/");
                let args = [
                    "-q",
                    "--silent",
                    "--proxytunnel",
                    "--proxy1.0",
                    &proxy,
                    &url,
                ];
                program::run("curl", "curl", &args).await
            } else {
                curl(&proxy, flags, &target).await
            };
            FILE.assert_is(&ran.expect_success());
        }
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_logs_in_by_the_same_users_as_socks() {
    let origin = Origin::http(V4, FILE).await;
    let target = origin.addr().to_string();
    let proxy = Child::start(&["--allow-private", "--user", LOGIN]).await;
    for flags in [
        &["--proxy-user", LOGIN][..],
        // Asks first, and hears 407.
        &["--proxy-anyauth", "--proxy-user", LOGIN],
    ] {
        FILE.assert_is(&curl(&proxy, flags, &target).await.expect_success());
    }
    for flags in [&[][..], &["--proxy-user", "joe:guess"]] {
        let ran = curl(&proxy, flags, &target).await;
        ran.expect_failure(RECEIVE, "407");
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn the_status_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let closed = closed.addr().to_string();
    let open = Child::start(&["--allow-private"]).await;
    let ran = curl(&open, &[], &closed).await;
    ran.expect_failure(RECEIVE, "502");
    let ran = curl(&open, &[], "no-such-name.invalid:80").await;
    ran.expect_failure(RECEIVE, "502");
    let strict = Child::start(&[]).await;
    let ran = curl(&strict, &[], &closed).await;
    ran.expect_failure(RECEIVE, "403");
}

#[tokio::test]
#[ignore = "needs curl"]
async fn with_no_http_it_is_a_socks_proxy_alone() {
    let origin = Origin::http(V4, FILE).await;
    let target = origin.addr().to_string();
    let proxy = Child::start(&["--allow-private", "--no-http"]).await;
    let ran = curl(&proxy, &[], &target).await;
    ran.expect_failure(RECEIVE, "400");
    let (proxy, url) = (proxy.addr().to_string(), format!("http://{target}/"));
    let args = ["-q", "--silent", "--socks5", &proxy, &url];
    FILE.assert_is(&program::run("curl", "curl", &args).await.expect_success());
}
