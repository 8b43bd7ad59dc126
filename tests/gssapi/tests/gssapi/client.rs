//! Our client, with our server and with one of python-gssapi.

use std::{net::SocketAddr, process::Stdio};

use socks_tests::{
    client::assert_echoes,
    content::Content,
    origin::{Origin, V4},
    patiently,
};
use socks_tower::{
    Accepted, AuthenticateLayer, BoxError, BoxStream, Command, Connector, Error, GssApiClient,
    IntoOutbound, Protection, Request, Rules, Session, Socks5, Socks5Connector, Target,
    UpstreamError, UpstreamFailure, works::upstream::direct,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, duplex},
    process::Child,
};
use tower::{ServiceExt, service_fn};

use super::{World, python, strict};

/// Our client's method, for the service that a proxy of these tests is.
pub(super) fn client(protection: Protection) -> GssApiClient {
    GssApiClient::new("socks@proxy.test")
        .unwrap()
        .with_protection(protection)
}

/// A stream to `target` by the proxy at `proxy`.
pub(super) async fn connect(
    proxy: SocketAddr,
    method: GssApiClient,
    target: impl Into<Target>,
) -> Result<BoxStream, BoxError> {
    let connector = Socks5Connector::new(proxy.into(), direct()).with_method(method);
    connect_by(connector, target.into()).await
}

async fn connect_by<C: Connector<Request>>(
    connector: C,
    target: Target,
) -> Result<C::Io, BoxError> {
    let request = Request::new(Session::new(), Command::CONNECT, target);
    let connecting = connector.run(request);
    Ok(patiently("a connection", connecting)
        .await?
        .into_outbound()
        .io)
}

pub(super) const LEVELS: [Protection; 2] = [Protection::Integrity, Protection::Confidentiality];

#[tokio::test]
async fn it_and_our_server_carry_both_ways_at_each_level() {
    let world = World::new(strict()).await;
    let content = Content::mib(2);
    for level in LEVELS {
        let stream = connect(world.proxy.addr(), client(level), world.echo.addr());
        let (mut read, mut write) = tokio::io::split(stream.await.unwrap());
        let writing = tokio::spawn(async move {
            write.write_all(&content.bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut echo = Vec::new();
        patiently("the echo", read.read_to_end(&mut echo))
            .await
            .unwrap();
        content.assert_is(&echo);
        writing.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_sessions_at_once_do_not_meet() {
    let world = World::new(strict()).await;
    let (proxy, echo) = (world.proxy.addr(), world.echo.addr());
    let method = client(Protection::Confidentiality);
    let sessions = (0..100_u8).map(|number| {
        let method = method.clone();
        tokio::spawn(async move {
            let mut stream = connect(proxy, method, echo).await.unwrap();
            for _ in 0..20 {
                let text = [number; 5000];
                patiently("the echo", assert_echoes(&mut stream, &text)).await;
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap();
    }
}

#[tokio::test]
async fn its_datagrams_go_and_come_at_each_level() {
    let world = World::new(strict()).await;
    for level in LEVELS {
        let connector =
            Socks5Connector::new(world.proxy.addr().into(), direct()).with_method(client(level));
        let socket = connector.associate().await.unwrap();
        for len in [0, 1, 1200, 60_000] {
            let text = Content::new(len).bytes();
            socket
                .send_to(&text, &world.udp_echo.addr.into())
                .await
                .unwrap();
            let mut answer = vec![0; 65_536];
            let received = patiently("an answer", socket.recv_from(&mut answer)).await;
            let (len, from) = received.unwrap();
            assert_eq!(from, world.udp_echo.addr.into());
            assert_eq!(answer[..len], text);
        }
    }
}

/// A target that the server below is asked for, and does not reach.
fn nowhere() -> SocketAddr {
    ([192, 0, 2, 7], 80).into()
}

/// One session of the server of `rfc1961.py`, in a process of its own.
struct Peer {
    addr: SocketAddr,
    child: Child,
}

impl Peer {
    /// Whose `server` does what `script` says.
    async fn start(script: impl std::fmt::Display) -> Self {
        let script = format!(
            "listener = socket.create_server(('127.0.0.1', 0))\n\
             print(listener.getsockname()[1], flush=True)\n\
             server = Server(listener)\n{script}"
        );
        let mut command = python(&script);
        let mut child = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = patiently("python", said.next_line()).await.unwrap();
        let port: u16 = port.expect("a port").parse().unwrap();
        Self {
            addr: ([127, 0, 0, 1], port).into(),
            child,
        }
    }

    /// Checks that all that the script asserts was so.
    async fn ends_well(mut self) {
        let status = patiently("python", self.child.wait()).await.unwrap();
        assert!(status.success(), "the script says why, above");
    }
}

#[tokio::test]
async fn it_asks_for_what_the_rfc_wants_and_no_more() {
    for (level, octet) in LEVELS.into_iter().zip([1, 2]) {
        let peer = Peer::start(format!(
            r#"
server.set_up()
flags = server.context.actual_flags
assert set(FLAGS) <= set(flags), flags
assert Flag.delegate_to_peer not in flags, flags
assert server.context.delegated_creds is None
assert str(server.context.initiator_name) == "joe@SOCKS.TEST"
assert server.answer_level() == {octet}
assert server.take_request() == (1, ("192.0.2.7", 80))
server.say(server.hear())
assert server.is_closed()
"#
        ));
        let peer = peer.await;
        let mut stream = connect(peer.addr, client(level), nowhere()).await.unwrap();
        assert_echoes(&mut stream, b"wrapped").await;
        drop(stream);
        peer.ends_well().await;
    }
}

#[tokio::test]
async fn it_hands_over_its_ticket_only_if_told_to() {
    let peer = Peer::start(
        r#"
server.set_up()
assert Flag.delegate_to_peer in server.context.actual_flags
assert str(server.context.delegated_creds.name) == "joe@SOCKS.TEST"
server.answer_level()
server.take_request()
"#,
    );
    let peer = peer.await;
    let method = client(Protection::Integrity).with_delegation();
    connect(peer.addr, method, nowhere()).await.unwrap();
    peer.ends_well().await;
}

#[tokio::test]
async fn for_datagrams_it_asks_for_no_sequencing() {
    let peer = Peer::start(
        r#"
server.set_up()
flags = server.context.actual_flags
assert Flag.replay_detection in flags, flags
assert Flag.out_of_sequence_detection not in flags, flags
server.answer_level()
assert server.take_request()[0] == 3
assert server.is_closed()
"#,
    );
    let peer = peer.await;
    let connector = Socks5Connector::new(peer.addr.into(), direct())
        .with_method(client(Protection::Confidentiality));
    drop(connector.associate().await.unwrap());
    peer.ends_well().await;
}

#[tokio::test]
async fn an_answer_below_what_it_wants_ends_it() {
    for (asked, least, answer) in [
        (Protection::Confidentiality, Protection::Confidentiality, 1),
        (Protection::Integrity, Protection::Integrity, 0),
        (Protection::Confidentiality, Protection::Integrity, 0),
        (Protection::Confidentiality, Protection::Integrity, 3),
        (Protection::Confidentiality, Protection::Integrity, 255),
    ] {
        let peer = Peer::start(format!(
            "server.set_up()\nserver.answer_level({answer})\nassert server.is_closed()\n"
        ));
        let peer = peer.await;
        let method = client(asked).with_least(least);
        let refused = connect(peer.addr, method, nowhere()).await;
        assert!(refused.is_err(), "{asked:?}, {answer}");
        peer.ends_well().await;
    }
}

#[tokio::test]
async fn a_stream_that_somebody_meddles_with_fails_and_does_not_merely_end() {
    for meddle in [
        "token = server.wrap(b'altered'); server.send(message(DATA, token[:-1] + bytes([token[-1] ^ 1])))",
        "again = message(DATA, server.wrap(b'again')); server.send(again + again)",
        "server.wrap(b'lost'); server.say(b'behind a gap')",
        "server.say(b'in clear', encrypt=False)",
        "server.send(message(CONTEXT, server.wrap(b'kind')))",
        "server.send(b'in clear')",
        "server.send(message(DATA, server.wrap(b'cut'))[:-1])",
        "server.send(b'\\1')",
    ] {
        let peer = Peer::start(format!(
            "server.set_up()\nserver.answer_level()\nserver.take_request()\n{meddle}\n\
             server.sock.shutdown(socket.SHUT_WR)\nassert server.is_closed()\n"
        ));
        let peer = peer.await;
        let method = client(Protection::Confidentiality);
        let mut stream = connect(peer.addr, method, nowhere()).await.unwrap();
        let read = patiently("the end", stream.read_to_end(&mut Vec::new())).await;
        assert!(read.is_err(), "{meddle}: {read:?}");
        drop(stream);
        peer.ends_well().await;
    }
}

/// What failed, and all that is said of it.
fn failure(error: BoxError) -> (UpstreamFailure, String) {
    let error = error.downcast::<Error>().unwrap();
    let of_upstream = error.get_ref().unwrap().downcast_ref::<UpstreamError>();
    let failure = of_upstream.unwrap().failure();
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&*error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    (failure, said)
}

#[tokio::test]
async fn a_refusal_is_told_apart() {
    let world = World::new(strict()).await;
    // A ticket for another service, that the proxy takes none of.
    let wrong = GssApiClient::new("rcmd@proxy.test").unwrap();
    let refused = connect(world.proxy.addr(), wrong, world.echo.addr())
        .await
        .err()
        .unwrap();
    let (failed, why) = failure(refused);
    assert_eq!(failed, UpstreamFailure::RefusedUs);
    assert!(why.ends_with("the proxy refused our ticket"), "{why}");
    // One that the KDC does not give.
    let none = GssApiClient::new("socks@nowhere.test").unwrap();
    let none = connect(world.proxy.addr(), none, world.echo.addr())
        .await
        .err()
        .unwrap();
    let (failed, why) = failure(none);
    assert_eq!(failed, UpstreamFailure::RefusedUs);
    assert!(why.contains("not found in Kerberos database"), "{why}");
}

#[tokio::test]
async fn it_and_our_server_speak_over_a_pipe_of_one_byte() {
    for level in LEVELS {
        let echo = Origin::echo(V4).await;
        let socks = Socks5::new()
            .with_auth(AuthenticateLayer::new(strict()))
            .with_rules(Rules::new().permit_all_special());
        let pipe = service_fn(move |_: Request| {
            let (near, far) = duplex(1);
            tokio::spawn(socks.clone().oneshot(Accepted::new(far, Session::new())));
            async { Ok::<_, BoxError>(near) }
        });
        let connector = Socks5Connector::new("192.0.2.1:1080".parse().unwrap(), pipe)
            .with_method(client(level));
        let mut stream = connect_by(connector, echo.addr().into()).await.unwrap();
        for len in [1, 1000, 70_000] {
            let text = Content::new(len).bytes();
            let (mut read, mut write) = tokio::io::split(&mut stream);
            let mut heard = vec![0; len];
            let say = async {
                write.write_all(&text).await?;
                write.flush().await
            };
            let both = async { tokio::try_join!(say, read.read_exact(&mut heard)) };
            patiently("the echo", both).await.unwrap();
            assert_eq!(heard, text);
        }
    }
}
