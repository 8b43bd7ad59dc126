//! Ncat, of the nmap project.

use std::process::Stdio;

use socks_tests::{
    child::Child,
    origin::{ClosedPort, Origin, V4},
    program::{self, Ran},
};
use tokio::process::Command;

use crate::{LOGIN, open, strict, with_password};

/// Runs ncat through `child` to `target`, until the target closes.
async fn ncat(child: &Child, kind: &str, flags: &[&str], target: std::net::SocketAddr) -> Ran {
    let (proxy, ip) = (child.addr().to_string(), target.ip().to_string());
    let port = target.port().to_string();
    let mut command = Command::new("ncat");
    command
        .args([
            "--verbose",
            "--recv-only",
            "--proxy",
            &proxy,
            "--proxy-type",
            kind,
        ])
        .args(flags)
        .args([&ip, &port])
        .stdin(Stdio::null());
    program::run_command(command, "ncat").await
}

/// Says hello, and closes.
async fn greeter() -> Origin {
    Origin::serve(V4, |mut stream| async move {
        let hello = b"hello from the target\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, hello)
            .await
            .unwrap();
    })
    .await
}

#[tokio::test]
#[ignore = "needs ncat"]
async fn it_reaches_a_target_that_speaks_first() {
    let origin = greeter().await;
    let proxy = open().await;
    for kind in ["socks4", "socks5"] {
        let heard = ncat(&proxy, kind, &[], origin.addr()).await;
        assert_eq!(heard.expect_success(), b"hello from the target\n", "{kind}");
    }
}

#[tokio::test]
#[ignore = "needs ncat"]
async fn a_login_lets_in_and_a_wrong_one_does_not() {
    let origin = greeter().await;
    let proxy = with_password().await;
    let heard = ncat(&proxy, "socks5", &["--proxy-auth", LOGIN], origin.addr()).await;
    assert_eq!(heard.expect_success(), b"hello from the target\n");
    let wrong = ncat(
        &proxy,
        "socks5",
        &["--proxy-auth", "joe:guess"],
        origin.addr(),
    )
    .await;
    assert_ne!(wrong.code, Some(0), "{wrong}");
    assert!(wrong.stdout.is_empty(), "{wrong}");
    // SOCKS4's user id is no password.
    let claim = ncat(&proxy, "socks4", &["--proxy-auth", "joe"], origin.addr()).await;
    assert_ne!(claim.code, Some(0), "{claim}");
}

#[tokio::test]
#[ignore = "needs ncat"]
async fn it_says_why_a_target_is_not_reached() {
    let closed = ClosedPort::new();
    let (open, strict) = (open().await, strict().await);
    let refused = ncat(&open, "socks5", &[], closed.addr()).await;
    refused.expect_failure(1, "refused");
    let denied = ncat(&strict, "socks5", &[], closed.addr()).await;
    denied.expect_failure(1, "not allowed");
    for proxy in [&open, &strict] {
        let rejected = ncat(proxy, "socks4", &[], closed.addr()).await;
        rejected.expect_failure(1, "Proxy connection failed");
    }
}
