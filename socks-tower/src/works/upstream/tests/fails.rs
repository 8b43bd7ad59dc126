//! What goes wrong, and what clients hear of it.

use super::*;

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

    let mut request = to("0.0.0.0:0");
    request.command = Command::UDP_ASSOCIATE;
    let error = connector.call(request.clone()).await.unwrap_err();
    assert_eq!(error.reply(), ReplyCode::COMMAND_NOT_SUPPORTED);

    let mut connector = Socks5Connector::new(target(PROXY), MustNotBeCalled);
    request.command = Command::RESOLVE;
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

#[tokio::test(start_paused = true)]
async fn a_proxy_may_be_given_all_the_time_in_the_world() {
    let slow = service_fn(|request: Request| async move {
        tokio::time::sleep(Duration::from_secs(60 * 60)).await;
        saying(&[b"\x05\x00", GRANTED]).run(request).await
    });
    for timeout in [Some(Duration::MAX), None] {
        let connector = Socks5Connector::new(target(PROXY), slow);
        let mut connector = connector.with_timeout(timeout);
        connector.call(to("example.com:80")).await.unwrap();
    }
}

#[test]
fn the_causes_of_a_refusal_are_told() {
    let error = UpstreamError::from(socks_core::client::Error::NoAcceptableMethod);
    assert_eq!(error.to_string(), "the proxy refused us");
    let cause = error.source().unwrap();
    assert!(cause.is::<socks_core::client::Error>());
}
