//! `setsockopt` that does not know an option, as on small kernels.

use socks_tests::{
    child::{self, Child},
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
};

use crate::rule;

/// Level and number.
const SO_REUSEADDR: (i32, i32) = (1, 2);
const SO_KEEPALIVE: (i32, i32) = (1, 9);
const SO_REUSEPORT: (i32, i32) = (1, 15);
const TCP_NODELAY: (i32, i32) = (6, 1);
const TCP_KEEPIDLE: (i32, i32) = (6, 4);
const IPV6_V6ONLY: (i32, i32) = (41, 26);

/// Refuses it with `ENOPROTOOPT`.
fn unknown((level, number): (i32, i32)) -> String {
    rule("setsockopt", &format!(",1={level},2={number}:92"))
}

#[tokio::test]
async fn what_is_a_matter_of_speed_is_done_without_and_said_once() {
    for (options, named) in [
        (&[SO_REUSEPORT][..], "SO_REUSEPORT"),
        (&[TCP_NODELAY], "TCP_NODELAY"),
        (&[SO_KEEPALIVE], "SO_KEEPALIVE"),
        (&[TCP_KEEPIDLE], "SO_KEEPALIVE"),
        (
            &[SO_REUSEPORT, TCP_NODELAY, SO_KEEPALIVE, TCP_KEEPIDLE],
            "TCP_NODELAY",
        ),
    ] {
        for runtime in ["per-thread", "shared"] {
            let origin = Origin::echo(V4).await;
            let rules: Vec<_> = options.iter().copied().map(unknown).collect();
            let rules: Vec<_> = rules.iter().map(String::as_str).collect();
            let args = ["--allow-private", "--threads", "2", "--runtime", runtime];
            let child = Child::start_refusing(&rules, &args).await;
            let mut tunnels = Vec::new();
            for _ in 0..8 {
                let tunnel = socks5(child.addr(), None, origin.addr()).await;
                tunnels.push(tunnel.unwrap());
            }
            for tunnel in &mut tunnels {
                assert_echoes(tunnel, b"carried").await;
            }
            let is_asked = named != "SO_REUSEPORT" || runtime == "per-thread";
            if is_asked {
                child.wait_for_log(named).await;
            }
            let log = child.log();
            assert_eq!(
                log.matches(named).count(),
                usize::from(is_asked),
                "{named}: {log}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_more_than_that_is_named() {
    for (option, listen, named) in [
        (SO_REUSEADDR, "127.0.0.1:0", "SO_REUSEADDR"),
        (IPV6_V6ONLY, "[::1]:0", "IPV6_V6ONLY"),
    ] {
        let ran = child::run_refusing(&[&unknown(option)], &["--listen", listen]).await;
        ran.expect_failure(1, &format!("cannot listen on {listen}: {named}: "));
    }
}
