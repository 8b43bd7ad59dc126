//! curl, up to where its own faults stop it.

use socks_tests::{
    content::Content,
    origin::{Origin, V4},
    program,
};
use socks_tower::GssApi;

use super::World;

/// If it asks before the proxy's choice of a method has come, it gives up.
const TOO_SOON: &str = "per-message authentication is not supported";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_let_in_by_opt_ins_and_fetches_if_it_can() {
    let page = Origin::http(V4, Content::mib(1)).await;
    // It does not ask for sequencing, and protects nothing: up to 7.88 it says so, later
    // it asks for level 2 and goes on if it is denied that.
    let method = GssApi::new("rcmd")
        .unwrap()
        .allow_unsequenced()
        .allow_unprotected()
        .allow_downgrade();
    let world = World::new(method).await;
    let proxy = format!("localhost:{}", world.proxy.addr().port());
    let url = format!("http://127.0.0.1:{}/", page.port());
    let args = ["-sSv", "--socks5-gssapi", "--socks5", &proxy, &url];
    let mut ran = program::run("curl", "curl", &args).await;
    for _ in 0..200 {
        if !ran.stderr.contains(TOO_SOON) {
            break;
        }
        ran = program::run("curl", "curl", &args).await;
    }
    let let_in = "SOCKS5 server authenticated user joe@SOCKS.TEST with GSS-API";
    assert!(ran.stderr.contains(let_in), "{ran}");
    if ran.code == Some(0) {
        Content::mib(1).assert_is(&ran.stdout);
    } else {
        // 7.88, once it has its 0.
        ran.expect_failure(
            97,
            "Undocumented SOCKS5 mode attempted to be used by server",
        );
    }
}
