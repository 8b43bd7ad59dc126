//! Proxies as scripts, and what comes of them.

use std::{convert::Infallible, error::Error as StdError, future::pending, time::Duration};

use socks_core::{
    Credentials, Target,
    server::Version,
    v5::{Command, Method, ReplyCode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};
use tokio_test::io::{Builder, Mock};
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

use super::*;
use crate::{
    session::{
        BoxError, Connector, DialError, Error, ErrorKind, Inbound, IntoOutbound, Outbound, Pinned,
        Request, Session, Stream, Work,
    },
    stages::connect::ConnectLayer,
    test_support::{MustNotBeCalled, Stop, requested},
};

const PROXY: &str = "proxy.example:1080";
const GREETED: &[u8] = b"\x05\x01\x00";
const ASKED: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x00\x50";
const GRANTED: &[u8] = b"\x05\x00\x00\x01\xc0\x00\x02\x01\x04\x38";

fn target(target: &str) -> Target {
    target.parse().unwrap()
}

fn to(target: &str) -> Request {
    Request::new(
        Session::new(),
        Command::CONNECT,
        target.parse::<Target>().unwrap(),
    )
}

fn joe() -> Credentials {
    Credentials::new("joe", "secret").unwrap()
}

/// Reaches a proxy that `script` says all of.
fn proxy(
    script: impl Fn(&mut Builder) + Clone + Send + 'static,
) -> impl Connector<Request, Io = Mock> {
    service_fn(move |request: Request| {
        assert_eq!(request.target, target(PROXY));
        let mut builder = Builder::new();
        script(&mut builder);
        async move { Ok::<_, Infallible>(builder.build()) }
    })
}

/// Reads the rest: what is the target's.
async fn rest<Io: Stream>(upstream: impl IntoOutbound<Io = Io>) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut io = upstream.into_outbound().io;
    io.read_to_end(&mut rest).await.unwrap();
    rest
}

fn failure(error: &Error) -> UpstreamFailure {
    error
        .get_ref()
        .unwrap()
        .downcast_ref::<UpstreamError>()
        .unwrap()
        .failure()
}

#[tokio::test]
async fn a_name_goes_to_the_proxy_and_the_target_s_first_bytes_stay() {
    let inner = proxy(|script| {
        script.write(GREETED).read(b"\x05\x00");
        script.write(ASKED).read(&[GRANTED, b"hello"].concat());
    });
    let connector = Socks5Connector::new(target(PROXY), inner);
    let upstream = connector.run(to("example.com:80")).await.unwrap();
    assert_eq!(rest(upstream).await, b"hello");
}

#[tokio::test]
async fn all_methods_are_offered_at_once() {
    struct Magic;
    #[async_trait::async_trait]
    impl ClientMethod for Magic {
        fn code(&self) -> Method {
            Method(0x80)
        }
        async fn authenticate(&self, proxy: &mut dyn Stream) -> Result<(), BoxError> {
            let challenge = proxy.read_u8().await?;
            proxy.write_all(&[challenge + 1]).await?;
            match proxy.read_u8().await? {
                0 => Ok(()),
                _ => Err("no".into()),
            }
        }
    }
    fn connector<C>(inner: C) -> Socks5Connector<C> {
        let connector = Socks5Connector::new(target(PROXY), inner);
        connector.with_credentials(joe()).with_method(Magic)
    }
    let greeting = b"\x05\x03\x80\x02\x00";

    let with_password = proxy(|script| {
        script.write(greeting).read(b"\x05\x02");
        script.write(b"\x01\x03joe\x06secret").read(b"\x01\x00");
        script.write(ASKED).read(GRANTED).read(b"hello");
    });
    let upstream = connector(with_password).run(to("example.com:80")).await;
    assert_eq!(rest(upstream.unwrap()).await, b"hello");

    // The challenge comes with the choice.
    let with_magic = proxy(|script| {
        script.write(greeting).read(b"\x05\x80\x06");
        script.write(b"\x07").read(b"\x00");
        script.write(ASKED).read(GRANTED).read(b"hello");
    });
    let upstream = connector(with_magic).run(to("example.com:80")).await;
    assert_eq!(rest(upstream.unwrap()).await, b"hello");

    let without = proxy(|script| {
        script.write(greeting).read(b"\x05\x00");
        script.write(ASKED).read(GRANTED).read(b"hello");
    });
    let upstream = connector(without).run(to("example.com:80")).await;
    assert_eq!(rest(upstream.unwrap()).await, b"hello");

    let not_let_in = proxy(|script| {
        script.write(greeting).read(b"\x05\x80\x06");
        script.write(b"\x07").read(b"\x01");
    });
    let error = connector(not_let_in).call(to("example.com:80")).await;
    assert_eq!(failure(&error.unwrap_err()), UpstreamFailure::RefusedUs);
}

#[tokio::test]
async fn one_flight_sends_all_at_once() {
    let inner = proxy(|script| {
        let flight = [b"\x05\x01\x02\x01\x03joe\x06secret", ASKED].concat();
        script.write(&flight);
        script.read(&[b"\x05\x02\x01\x00", GRANTED, b"hello"].concat());
    });
    let connector = Socks5Connector::new(target(PROXY), inner)
        .with_credentials(joe())
        .with_one_flight();
    let upstream = connector.run(to("example.com:80")).await.unwrap();
    assert_eq!(rest(upstream).await, b"hello");
}

#[tokio::test]
async fn socks4_is_told_addresses_and_socks4a_names() {
    let user = socks_core::v4::UserId::new(b"joe").unwrap();
    let granted = b"\x00\x5a\x00\x00\x00\x00\x00\x00hello";
    for (wanted, asked) in [
        (
            "example.com:80",
            &b"\x04\x01\x00\x50\x00\x00\x00\x01joe\x00example.com\x00"[..],
        ),
        ("192.0.2.7:80", b"\x04\x01\x00\x50\xc0\x00\x02\x07joe\x00"),
        (
            "[::ffff:192.0.2.7]:80",
            b"\x04\x01\x00\x50\xc0\x00\x02\x07joe\x00",
        ),
    ] {
        let inner = proxy(move |script| {
            script.write(asked).read(granted);
        });
        let connector = Socks4Connector::new(target(PROXY), inner).with_user_id(user.clone());
        let upstream = connector.run(to(wanted)).await.unwrap();
        assert_eq!(rest(upstream).await, b"hello");
    }
}

#[tokio::test]
async fn of_what_was_looked_up_the_proxy_is_told_the_first_that_it_has_words_for() {
    let addrs = ["[2001:db8::1]:80", "192.0.2.7:80"].map(|addr| addr.parse().unwrap());
    let pinned = || to("example.com:80").with_target(Pinned::new(target("example.com:80"), addrs));

    let socks4 = proxy(|script| {
        let asked = b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00";
        script
            .write(asked)
            .read(b"\x00\x5a\x00\x00\x00\x00\x00\x00");
    });
    let connector = Socks4Connector::new(target(PROXY), socks4);
    connector.run(pinned()).await.unwrap();

    let socks5 = proxy(|script| {
        let ip = b"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01";
        let asked = [b"\x05\x01\x00\x04", &ip[..], b"\x00\x50"].concat();
        script.write(GREETED).read(b"\x05\x00");
        script.write(&asked).read(GRANTED);
    });
    let connector = Socks5Connector::new(target(PROXY), socks5);
    connector.run(pinned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_several_addresses_one_that_the_proxy_reaches_is_found() {
    let tried = |code: u8, count: u8| async move {
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = asked.clone();
        let inner = service_fn(move |_: Request| {
            let (near, mut far) = duplex(64);
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut heard = [0; 10];
                far.read_exact(&mut heard[..3]).await.unwrap();
                far.write_all(b"\x05\x00").await.unwrap();
                far.read_exact(&mut heard).await.unwrap();
                seen.lock().unwrap().push(heard[7]);
                let code = if heard[7] == 3 { 0 } else { code };
                far.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
            });
            async move { Ok::<_, Infallible>(near) }
        });
        let addrs = (1..=count).map(|last| ([192, 0, 2, last], 80).into());
        let pinned = Pinned::new(target("example.com:80"), addrs);
        let connector = Socks5Connector::new(target(PROXY), inner);
        let connected = connector.run(to("a:1").with_target(pinned)).await;
        let asked = asked.lock().unwrap().clone();
        (connected.is_ok(), asked)
    };
    assert_eq!(tried(4, 5).await, (true, vec![1, 2, 3]));
    assert_eq!(tried(5, 2).await, (false, vec![1, 2]));
    // A rule of the proxy's is an answer.
    assert_eq!(tried(2, 5).await, (false, vec![1]));
}

#[tokio::test]
async fn the_longest_names_and_passwords_fit() {
    let name = ["a".repeat(63).as_str(); 4].join(".");
    assert_eq!(name.len(), 255);
    let long = "x".repeat(255);
    let credentials = Credentials::new(&long, &long).unwrap();
    let password = [b"\x01\xff", long.as_bytes(), b"\xff", long.as_bytes()].concat();
    let asked = [b"\x05\x01\x00\x03\xff", name.as_bytes(), b"\x00\x50"].concat();
    let inner = proxy(move |script| {
        script.write(b"\x05\x02\x02\x00").read(b"\x05\x02");
        script.write(&password).read(b"\x01\x00");
        script.write(&asked).read(GRANTED).read(b"hello");
    });
    let connector = Socks5Connector::new(target(PROXY), inner).with_credentials(credentials);
    let upstream = connector.run(to(&format!("{name}:80"))).await.unwrap();
    assert_eq!(rest(upstream).await, b"hello");
}

#[tokio::test]
async fn bnd_addr_may_be_anything() {
    let long = [b"\x05\x00\x00\x03\xff", &[b'a'; 255][..], b"\x00\x50"].concat();
    for bound in [
        &b"\x05\x00\x00\x03\x00\x00\x50"[..],
        b"\x05\x00\x00\x03\x01a\x00\x50",
        b"\x05\x00\x00\x03\x02ab\x00\x50",
        b"\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x05\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x50",
        &long,
    ] {
        let answer = [bound, b"hello"].concat();
        let inner = proxy(move |script| {
            script.write(GREETED).read(b"\x05\x00");
            script.write(ASKED).read(&answer);
        });
        let connector = Socks5Connector::new(target(PROXY), inner);
        let upstream = connector.run(to("example.com:80")).await.unwrap();
        assert_eq!(rest(upstream).await, b"hello", "{}", bound.escape_ascii());
    }
}

/// A proxy that says `answers`, one to each thing that it is told.
fn saying(answers: &'static [&'static [u8]]) -> impl Connector<Request, Io = DuplexStream> {
    service_fn(move |_: Request| {
        let (near, mut far) = duplex(4096);
        tokio::spawn(async move {
            for answer in answers {
                let mut heard = [0; 1024];
                let _ = far.read(&mut heard).await;
                let _ = far.write_all(answer).await;
            }
            // It neither says more nor hangs up.
            pending::<()>().await;
            drop(far);
        });
        async move { Ok::<_, Infallible>(near) }
    })
}

/// What a client hears, in each version of SOCKS.
async fn hears(connector: impl Connector<Request> + Sync) -> ([u8; 2], [u8; 2], Error) {
    let mut heard = Vec::new();
    let mut errors = Vec::new();
    for version in [Version::Socks5, Version::Socks4a] {
        let (mut client, io) = duplex(64);
        let mut requested = requested(io, b"", to("example.com:80"));
        requested.client = Inbound::new(requested.client.io, Vec::new(), version);
        let mut stage = ConnectLayer::new(connector.clone()).layer(Stop);
        let hearing = async {
            let mut reply = [0; 2];
            client.read_exact(&mut reply).await.unwrap();
            drop(client);
            reply
        };
        let (result, reply) = tokio::join!(stage.call(requested), hearing);
        heard.push(reply);
        errors.push(result.unwrap_err());
    }
    (heard[0], heard[1], errors.remove(0))
}

fn socks5(answers: &'static [&'static [u8]]) -> impl Connector<Request> + Sync {
    Socks5Connector::new(target(PROXY), saying(answers)).with_credentials(joe())
}

#[tokio::test(start_paused = true)]
async fn every_code_of_socks5_passes_if_it_is_one() {
    for code in 1..=u8::MAX {
        let answer: &'static [u8] = Box::leak(Box::new([5, code, 0, 1, 0, 0, 0, 0, 0, 0]));
        let answers: &'static [&'static [u8]] = Box::leak(Box::new([b"\x05\x00", answer]));
        let (v5, v4, error) = hears(socks5(answers)).await;
        let passed = if matches!(code, 1..=8 | 0xf0..=0xf7) {
            code
        } else {
            1
        };
        assert_eq!((v5, v4), ([5, passed], [0, 91]), "{code}");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(failure(&error), UpstreamFailure::RefusedTarget);
        let said = error.get_ref().unwrap().downcast_ref::<UpstreamError>();
        assert_eq!(said.unwrap().code(), Some(ReplyCode(passed)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_proxy_does_not_read_as_the_target_s() {
    use UpstreamFailure::{NoAnswer, Protocol, RefusedUs, Unreachable};

    type Answers = &'static [&'static [u8]];
    for (answers, expected, code) in [
        // It says nothing, or stops in the midst of it.
        (&[][..] as Answers, Unreachable, 1),
        (&[b"\x05"], Unreachable, 1),
        (&[b"\x05\x02"], Unreachable, 1),
        (&[b"\x05\x00"], NoAnswer, 6),
        (&[b"\x05\x00", b"\x05"], NoAnswer, 6),
        (&[b"\x05\x00", b"\x05\x00\x00\x01"], NoAnswer, 6),
        // It does not want us.
        (&[b"\x05\xff"], RefusedUs, 1),
        (&[b"\x05\x02", b"\x01\x01"], RefusedUs, 1),
        // It is none.
        (&[b"\x05\x01"], Protocol, 1),
        (&[b"\x05\x03"], Protocol, 1),
        (&[b"\x04\x00"], Protocol, 1),
        (&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], Protocol, 1),
        (&[b"\x05\x02", b"\x05\x00"], Protocol, 1),
        (
            &[b"\x05\x00", b"\x04\x00\x00\x01\x00\x00\x00\x00\x00\x00"],
            Protocol,
            1,
        ),
        (
            &[b"\x05\x00", b"\x05\x00\x00\x02\x00\x00\x00\x00\x00\x00"],
            Protocol,
            1,
        ),
    ] {
        let (v5, v4, error) = hears(socks5(answers)).await;
        assert_eq!(failure(&error), expected, "{answers:?}");
        assert_eq!((v5, v4), ([5, code], [0, 91]), "{answers:?}");
        let is_ours = expected != NoAnswer;
        assert_eq!(error.kind() == ErrorKind::Upstream, is_ours);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_cannot_be_dialled_is_01_whatever_the_cause() {
    let refused = || {
        service_fn(|_: Request| async {
            Err::<DuplexStream, _>(DialError::from(std::io::ErrorKind::ConnectionRefused))
        })
    };
    let (v5, v4, error) = hears(Socks5Connector::new(target(PROXY), refused())).await;
    assert_eq!((v5, v4), ([5, 1], [0, 91]));
    assert_eq!(error.kind(), ErrorKind::Upstream);
    assert_eq!(
        crate::session::Chain(&error).to_string(),
        "the upstream proxy failed: the proxy proxy.example:1080 could not be reached: \
         connection refused"
    );

    // What a hop says of the next one is not about the target either.
    let first = Socks5Connector::new(
        target("first.example:1"),
        saying(&[b"\x05\x00", b"\x05\x05"]),
    );
    let (v5, _, error) = hears(Socks4Connector::new(target(PROXY), first)).await;
    assert_eq!(v5, [5, 1]);
    assert_eq!(error.kind(), ErrorKind::Upstream);
}

#[tokio::test(start_paused = true)]
async fn codes_of_socks4_are_all_01() {
    use UpstreamFailure::{RefusedTarget, RefusedUs};

    const ANSWERS: [(&[&[u8]], UpstreamFailure); 3] = [
        (&[b"\x00\x5b\x00\x00\x00\x00\x00\x00"], RefusedTarget),
        (&[b"\x00\x5c\x00\x00\x00\x00\x00\x00"], RefusedUs),
        (&[b"\x00\x5d"], RefusedUs),
    ];
    for (answers, expected) in ANSWERS {
        let connector = Socks4Connector::new(target(PROXY), saying(answers));
        let (v5, v4, error) = hears(connector).await;
        assert_eq!((v5, v4), ([5, 1], [0, 91]));
        assert_eq!(failure(&error), expected);
    }
}

#[tokio::test]
async fn what_a_proxy_has_no_words_for_it_is_not_asked() {
    let mut connector = Socks4Connector::new(target(PROXY), MustNotBeCalled);
    let error = connector.call(to("[2001:db8::1]:80")).await.unwrap_err();
    assert_eq!(failure(&error), UpstreamFailure::Unsupported);
    assert_eq!(error.reply(), ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED);

    let mut connector = Socks5Connector::new(target(PROXY), MustNotBeCalled);
    let mut request = to("example.com:80");
    request.command = Command::BIND;
    let error = connector.call(request).await.unwrap_err();
    assert_eq!(error.reply(), ReplyCode::COMMAND_NOT_SUPPORTED);

    let nowhere = to("a:80").with_target(Pinned::new(target("a:80"), []));
    let error = connector.call(nowhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_never_answers_is_given_up_at_the_deadline() {
    let began = Instant::now();
    let within = Duration::from_secs(7);
    let never = service_fn(|_: Request| pending::<Result<DuplexStream, Infallible>>());
    let mut dialling = Socks5Connector::new(target(PROXY), never).with_timeout(within);
    let error = dialling.call(to("example.com:80")).await.unwrap_err();
    assert_eq!(failure(&error), UpstreamFailure::Unreachable);
    assert_eq!(began.elapsed(), within);

    // Dial and handshake together.
    let slow = service_fn(|request: Request| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        saying(&[b"\x05\x00"]).run(request).await
    });
    let mut asking = Socks5Connector::new(target(PROXY), slow).with_timeout(within);
    let error = asking.call(to("example.com:80")).await.unwrap_err();
    assert_eq!(failure(&error), UpstreamFailure::NoAnswer);
    assert_eq!(began.elapsed(), 2 * within);
}

#[tokio::test]
async fn a_stream_s_address_and_guard_pass_through() {
    let inner = service_fn(|request: Request| async move {
        let io = proxy(|script| {
            script
                .write(GREETED)
                .read(b"\x05\x00")
                .write(ASKED)
                .read(GRANTED);
        });
        let io = io.run(request).await?.into_outbound().io;
        let local = "192.0.2.9:7".parse().unwrap();
        Ok::<_, BoxError>(Outbound::new(io).with_local_addr(local).with_guard(7))
    });
    let connector = Socks5Connector::new(target(PROXY), inner);
    let upstream = connector.run(to("example.com:80")).await.unwrap();
    assert_eq!(upstream.local_addr, Some("192.0.2.9:7".parse().unwrap()));
    assert!(upstream.guard.is_some());
}

#[tokio::test]
async fn a_url_is_a_connector_that_looks_up_what_it_says() {
    let asked_by_name = proxy(|script| {
        script.write(b"\x05\x02\x02\x00").read(b"\x05\x00");
        script
            .write(b"\x05\x01\x00\x03\x09localhost\x00\x50")
            .read(GRANTED);
    });
    let url = "socks5h://joe:secret@proxy.example".parse().unwrap();
    let connector = ProxyConnector::new(url, asked_by_name);
    connector.run(to("localhost:80")).await.unwrap();

    let asked_by_address = proxy(|script| {
        script
            .write(b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00")
            .read(b"\x00\x5a\x00\x00\x00\x00\x00\x00");
    });
    let url = "socks4://joe@proxy.example".parse().unwrap();
    let connector = ProxyConnector::new(url, asked_by_address);
    connector.run(to("localhost:80")).await.unwrap();
}

#[test]
fn the_causes_of_a_refusal_are_told() {
    let error = UpstreamError::from(socks_core::client::Error::NoAcceptableMethod);
    assert_eq!(error.to_string(), "the proxy refused us");
    let cause = error.source().unwrap();
    assert!(cause.is::<socks_core::client::Error>());
}
