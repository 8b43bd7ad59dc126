//! Where it listens, and where it does not.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
};

use socks_tests::{
    child::{self, Child},
    client::{Refused, assert_echoes, socks4, socks5},
    origin::{Origin, V4},
};
use tokio::net::lookup_host;

#[tokio::test]
async fn the_line_on_standard_output_has_the_real_port() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private"]).await;
    assert_ne!(child.addr().port(), 0);
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"by socks5").await;
    let mut tunnel = socks4(child.addr(), origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"by socks4").await;
}

#[tokio::test]
async fn it_serves_on_every_address_that_it_is_given() {
    let origin = Origin::echo(V4).await;
    let child = Child::start_as(&[
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.2:0",
        "--listen",
        "[::1]:0",
        "--allow-private",
    ])
    .await;
    let ips = child.addrs().iter().map(|addr| addr.ip().to_string());
    assert_eq!(ips.collect::<Vec<_>>(), ["127.0.0.1", "127.0.0.2", "::1"]);
    for &addr in child.addrs() {
        let mut tunnel = socks5(addr, None, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"here too").await;
    }
}

#[tokio::test]
async fn a_name_is_listened_on_at_all_of_its_addresses() {
    let origin = Origin::echo(V4).await;
    for runtime in ["per-thread", "shared"] {
        let args = ["--listen", "localhost:0", "--allow-private"];
        let child = Child::start_as(&[&args[..], &["--runtime", runtime]].concat()).await;
        // What this machine makes of it.
        let names = lookup_host("localhost:0").await.unwrap();
        let of_this_machine = |addr: &SocketAddr| TcpListener::bind(addr).is_ok();
        let expected: BTreeSet<_> = names.filter(of_this_machine).map(|it| it.ip()).collect();
        let ips = child.addrs().iter().map(SocketAddr::ip);
        assert_eq!(ips.clone().count(), expected.len(), "each once");
        assert_eq!(ips.collect::<BTreeSet<_>>(), expected);
        for &addr in child.addrs() {
            let mut tunnel = socks5(addr, None, origin.addr()).await.unwrap();
            assert_echoes(&mut tunnel, b"here too").await;
        }
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_answered_with_a_hint() {
    for (listen, hint) in [
        ("::1:1080", "in brackets before its port: [::1]:1080"),
        ("2001:db8:0:0:0:0:0:1:1080", "in brackets"),
        ("::1", "in brackets"),
        ("localhost", "ADDR:PORT"),
        ("127.0.0.1", "ADDR:PORT"),
        ("1080", "ADDR:PORT"),
        (":1080", "0.0.0.0:1080"),
        ("127.0.0.1:65536", "ADDR:PORT"),
        ("no-such-name.invalid:1080", "no-such-name.invalid"),
    ] {
        let ran = child::run(&["--listen", listen]).await;
        ran.expect_failure(2, hint);
        ran.expect_failure(2, "--listen");
    }
}

#[tokio::test]
async fn it_refuses_to_be_an_open_proxy_by_accident() {
    for exposed in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        let args = ["--listen", "127.0.0.1:0", "--listen", exposed];
        let ran = child::run(&args).await;
        for way_out in ["--user ", "--users", "--open"] {
            ran.expect_failure(1, way_out);
        }
        assert!(ran.stdout.is_empty(), "{ran}");
    }
}

#[tokio::test]
async fn it_does_not_connect_to_itself() {
    for runtime in ["per-thread", "shared"] {
        let addrs = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"];
        let flags = ["--allow-private", "--runtime", runtime];
        let child = Child::start_as(&[&addrs[..], &flags].concat()).await;
        for &addr in child.addrs() {
            for &target in child.addrs() {
                let denied = socks5(addr, None, target).await;
                assert_eq!(denied.unwrap_err(), Refused::Request(2), "{target}");
            }
        }
        assert!(!child.log().contains("--allow-private"), "{}", child.log());
    }
}

#[tokio::test]
async fn open_is_taken_on_loopback_too() {
    let child = Child::start_as(&["--listen", "127.0.0.3:0", "--open"]).await;
    assert_eq!(child.addr().ip().to_string(), "127.0.0.3");
}

#[tokio::test]
async fn a_second_one_on_the_same_port_fails_to_start() {
    let origin = Origin::echo(V4).await;
    let first = Child::start(&["--allow-private"]).await;
    let addr = first.addr().to_string();
    let second = child::run(&["--listen", &addr]).await;
    second.expect_failure(1, &format!("cannot listen on {addr}"));
    let mut tunnel = socks5(first.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"the first serves on").await;
}

#[tokio::test]
async fn it_prints_its_help_and_its_version() {
    let help = child::run(&["--help"]).await.expect_success();
    let help = String::from_utf8(help).unwrap();
    for flag in [
        "--listen",
        "--users",
        "--open",
        "--allow-private",
        "--log-format",
    ] {
        assert!(help.contains(flag), "{flag} is not in {help}");
    }
    let version = child::run(&["--version"]).await.expect_success();
    assert!(version.starts_with(b"socks-proxy "));
}

#[tokio::test]
async fn what_it_does_not_understand_is_an_exit_code_of_2() {
    for (args, message) in [
        (["--frobnicate", "yes"], "--frobnicate"),
        (["--listen", "localhost"], "--listen"),
        (["--listen", "127.0.0.1:65536"], "--listen"),
        (["--grace", "soon"], "--grace"),
        (["--idle-timeout", "-1"], "-1"),
        (["--threads", "0"], "--threads"),
        (["--max-connections", "0"], "--max-connections"),
        (["--log-format", "xml"], "--log-format"),
    ] {
        child::run(&args).await.expect_failure(2, message);
    }
}

#[tokio::test]
async fn a_filter_that_is_none_is_said_to_be_none() {
    let ran = child::run(&["--listen", "127.0.0.1:0", "--log", "a=b=c"]).await;
    ran.expect_failure(1, "a=b=c");
}

#[tokio::test]
async fn an_address_that_cannot_be_advertised_is_a_mistake() {
    for (addrs, why) in [
        (["192.0.2.1", "192.0.2.2"], "192.0.2.2 is the second"),
        (["2001:db8::1", "2001:db8::2"], "2001:db8::2 is the second"),
        (["192.0.2.1", "::"], "nobody can reach ::"),
    ] {
        let [first, second] = addrs;
        let ran = child::run(&["--advertise", first, "--advertise", second]).await;
        ran.expect_failure(1, &format!("--advertise: {why}"));
    }
}
