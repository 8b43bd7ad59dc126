//! Through `socksd`, by which curl tests itself, in each of its modes.

use std::env;

use socks_tests::origin::{ClosedPort, Origin, V4};
use socks_tower::{
    Credentials, ReplyCode, Socks4Connector, UpstreamFailure, works::upstream::direct,
};

use crate::{NOT_US, assert_carries, connect, failure, joe, server::Server, socks5};

const BROKE: (UpstreamFailure, Option<ReplyCode>) = (UpstreamFailure::Protocol, None);
const FAILED: (UpstreamFailure, Option<ReplyCode>) = (
    UpstreamFailure::RefusedTarget,
    Some(ReplyCode::GENERAL_FAILURE),
);

/// It reaches 127.0.0.1 in the place of all hosts, and says that it was the host.
async fn socksd(config: &str) -> Server {
    let program = env::var("SOCKS_TESTS_SOCKSD");
    let program = program.expect("the path of curl's socksd, which .ci/run builds");
    let args = [
        "--port",
        "{port}",
        "--config",
        "{config}",
        "--logfile",
        "{folder}/log",
        "--reqfile",
        "{folder}/requests",
        "--pidfile",
        "{folder}/pid",
    ];
    Server::start_configured(&program, "curl's source", &args, config).await
}

#[tokio::test]
#[ignore = "needs curl's socksd"]
async fn what_socksd_serves_is_carried() {
    let open = socksd("").await;
    assert_carries(&socks5(open.addr()), false).await;
    assert_carries(&socks5(open.addr()), true).await;
    assert_carries(&socks5(open.addr()).with_credentials(joe()), true).await;
    let socks4 = Socks4Connector::new(open.addr().into(), direct());
    assert_carries(&socks4, false).await;
    assert_carries(&socks4, true).await;
    // BND.ADDR is an IPv6 address, and a name as long as can be.
    let echo = Origin::echo(V4).await;
    let long = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "x".repeat(61));
    for host in ["[2001:db8::1]", &long] {
        let stream = connect(&socks5(open.addr()), &format!("{host}:{}", echo.port())).await;
        socks_tests::client::assert_echoes(&mut stream.unwrap(), b"through").await;
    }

    let guarded = socksd("method 2\nuser joe\npassword s3cret@!\n").await;
    assert_carries(&socks5(guarded.addr()).with_credentials(joe()), true).await;
    let one = socksd("nmethods_max 1\n").await;
    assert_carries(&socks5(one.addr()), true).await;
}

#[tokio::test]
#[ignore = "needs curl's socksd"]
async fn what_socksd_refuses_is_told_apart() {
    let target = "target.example:80";
    let why = async |config: &str| {
        let socksd = socksd(config).await;
        failure(&socks5(socksd.addr()).with_credentials(joe()), target).await
    };
    // It closes whatever it did not expect.
    for config in ["version 6\n", "nmethods_min 3\n", "nmethods_max 1\n"] {
        assert_eq!(why(config).await, BROKE, "{config}");
    }
    // It chooses what was not offered: GSS-API, and what nobody knows.
    for method in [1, 3, 128] {
        assert_eq!(why(&format!("method {method}\n")).await, BROKE, "{method}");
    }
    assert_eq!(why("method 255\n").await, NOT_US);
    // Whichever code it is to say, some versions say 01.
    for code in 1..=8 {
        let (failed, said) = why(&format!("response {code}\n")).await;
        assert_eq!(failed, UpstreamFailure::RefusedTarget);
        let said = said.unwrap();
        assert!(said == ReplyCode(code) || said == ReplyCode(1), "{said:?}");
    }

    let guarded = socksd("method 2\n").await;
    let wrong = Credentials::new("joe", "guess").unwrap();
    let wrong = socks5(guarded.addr()).with_credentials(wrong);
    assert_eq!(failure(&wrong, target).await, NOT_US);
    assert_eq!(failure(&socks5(guarded.addr()), target).await, BROKE);

    let closed = ClosedPort::new().addr().to_string();
    let open = socksd("").await;
    assert_eq!(failure(&socks5(open.addr()), &closed).await, FAILED);
    let socks4 = Socks4Connector::new(open.addr().into(), direct());
    assert_eq!(failure(&socks4, &closed).await, FAILED);
    // It takes one message at a time.
    let one_flight = socks5(open.addr()).with_one_flight();
    assert_eq!(failure(&one_flight, target).await, BROKE);
}
