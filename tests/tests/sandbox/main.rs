//! In sandboxes and on kernels that refuse system calls.

#![cfg(target_os = "linux")]

mod accept;
mod options;

use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
};

/// `ENOSYS`
const ENOSYS: &str = "38";

/// The call's number, as the rules of the sandbox want it.
fn rule(call: &str, rest: &str) -> String {
    let number = match (call, cfg!(target_arch = "x86_64")) {
        ("accept4", true) => 288,
        ("accept4", false) => 242,
        ("setsockopt", true) => 54,
        ("setsockopt", false) => 208,
        ("splice", true) => 275,
        ("splice", false) => 76,
        _ => unreachable!("no number of {call}"),
    };
    format!("{number}{rest}")
}

#[tokio::test]
async fn a_proxy_without_splice_serves() {
    let origin = Origin::echo(V4).await;
    let rule = rule("splice", &format!(":{ENOSYS}"));
    let child = Child::start_refusing(&[&rule], &["--allow-private"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"small").await;
}
