//! Through proxies that we did not write: Dante, microsocks, OpenSSH, Tor, Tinyproxy,
//! HAProxy, rama's and curl's own.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod chain;
mod server;
mod socksd;

use std::{env, net::SocketAddr};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore};
use server::Server;
use socks_tests::{
    client::assert_echoes,
    content::Content,
    origin::{ClosedPort, Origin, V4},
    patiently,
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, BindLayer, BoxError, ByCommand, Command, Connector, Credentials, DomainName,
    Error, HandshakeLayer, HttpConnector, IntoOutbound, NameRules, NoAuth, ProxyConnector, Relay,
    ReplyCode, Request, Rules, Session, Socks4Connector, Socks5Connector, Target, UdpAssociate,
    UpstreamError, UpstreamFailure, Versions, works::upstream::direct,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use tower::{Layer, ServiceBuilder};

const PAGE: Content = Content::mib(8);

async fn connect<C: Connector<Request>>(connector: &C, target: &str) -> Result<C::Io, BoxError> {
    let target = target.parse::<Target>().unwrap();
    let request = Request::new(Session::new(), Command::CONNECT, target);
    let connecting = connector.clone().run(request);
    Ok(patiently("a connection", connecting)
        .await?
        .into_outbound()
        .io)
}

/// Goes through to a server that speaks first, that echoes, and that has a page.
async fn assert_carries<C: Connector<Request>>(connector: &C, by_name: bool) {
    let host = if by_name { "localhost" } else { "127.0.0.1" };
    let speaks = Origin::banner(V4, "220 hello").await;
    let mut stream = connect(connector, &format!("{host}:{}", speaks.port()))
        .await
        .unwrap();
    let mut banner = [0; 9];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 hello");
    assert_echoes(&mut stream, b"and back").await;

    let pages = Origin::serve(V4, |mut stream| async move {
        for chunk in PAGE.chunks() {
            let _ = stream.write_all(&chunk).await;
        }
    })
    .await;
    let mut stream = connect(connector, &format!("{host}:{}", pages.port()))
        .await
        .unwrap();
    let mut page = Vec::new();
    patiently("a page", stream.read_to_end(&mut page))
        .await
        .unwrap();
    PAGE.assert_is(&page);
}

/// Why `target` is not reached.
async fn failure<C: Connector<Request>>(
    connector: &C,
    target: &str,
) -> (UpstreamFailure, Option<ReplyCode>) {
    let Err(error) = connect(connector, target).await else {
        panic!("{target} is reached");
    };
    let error = error.downcast::<Error>().unwrap();
    let said = error
        .get_ref()
        .unwrap()
        .downcast_ref::<UpstreamError>()
        .unwrap();
    (said.failure(), said.code())
}

fn socks5(proxy: SocketAddr) -> Socks5Connector<impl Connector<Request, Io = TcpStream>> {
    Socks5Connector::new(proxy.into(), direct())
}

fn joe() -> Credentials {
    Credentials::new("joe", "s3cret@!").unwrap()
}

const REFUSED: (UpstreamFailure, Option<ReplyCode>) = (
    UpstreamFailure::RefusedTarget,
    Some(ReplyCode::CONNECTION_REFUSED),
);
const NOT_US: (UpstreamFailure, Option<ReplyCode>) = (UpstreamFailure::RefusedUs, None);

#[tokio::test]
#[ignore = "needs microsocks"]
async fn microsocks_is_gone_through() {
    let closed = ClosedPort::new().addr().to_string();
    let start = async |more: &[&str]| {
        let args = [&["-i", "127.0.0.1", "-p", "{port}"], more].concat();
        Server::start("microsocks", "microsocks", &args).await
    };
    let open = start(&[]).await;
    assert_carries(&socks5(open.addr()), false).await;
    assert_carries(&socks5(open.addr()), true).await;
    assert_carries(&socks5(open.addr()).with_credentials(joe()), true).await;
    assert_eq!(failure(&socks5(open.addr()), &closed).await, REFUSED);
    assert_eq!(
        failure(&socks5(open.addr()), "no-such-name.invalid:80")
            .await
            .0,
        UpstreamFailure::RefusedTarget
    );

    let guarded = start(&["-u", "joe", "-P", "s3cret@!"]).await;
    assert_carries(&socks5(guarded.addr()).with_credentials(joe()), true).await;
    assert_eq!(failure(&socks5(guarded.addr()), &closed).await, NOT_US);
    let wrong = Credentials::new("joe", "guess").unwrap();
    let wrong = socks5(guarded.addr()).with_credentials(wrong);
    assert_eq!(failure(&wrong, &closed).await, NOT_US);
}

#[tokio::test]
#[ignore = "needs dante-server"]
async fn dante_is_gone_through_by_socks5_and_socks4() {
    let dante = server::dante().await;
    let closed = ClosedPort::new().addr().to_string();
    assert_carries(&socks5(dante.addr()), false).await;
    assert_carries(&socks5(dante.addr()), true).await;
    let socks4 = Socks4Connector::new(dante.addr().into(), direct());
    assert_carries(&socks4, false).await;
    assert_eq!(failure(&socks5(dante.addr()), &closed).await, REFUSED);
    let rejected = (
        UpstreamFailure::RefusedTarget,
        Some(ReplyCode::GENERAL_FAILURE),
    );
    assert_eq!(failure(&socks4, &closed).await, rejected);
    let ruled_out = failure(&socks5(dante.addr()), "127.0.0.7:80").await;
    let by_rule = Some(ReplyCode::CONNECTION_NOT_ALLOWED);
    assert_eq!(ruled_out, (UpstreamFailure::RefusedTarget, by_rule));
}

#[tokio::test]
#[ignore = "needs dante-server"]
async fn dante_relays_datagrams_of_ours_and_of_our_clients() {
    let echo = UdpSocket::bind((V4, 0)).await.unwrap();
    let target = Target::from(echo.local_addr().unwrap());
    let by_name = Target::new(DomainName::new("localhost").unwrap(), target.port);
    tokio::spawn(async move {
        let mut bytes = [0; 2048];
        loop {
            let (len, from) = echo.recv_from(&mut bytes).await.unwrap();
            echo.send_to(&bytes[..len], from).await.unwrap();
        }
    });
    let dante = server::dante().await;
    let ours = through(&dante).await;
    for proxy in [dante.addr(), ours.addr()] {
        let socket = socks5(proxy).associate().await.unwrap();
        for target in [&target, &by_name] {
            socket.send_to(b"question", target).await.unwrap();
            let mut answer = [0; 64];
            let answered = patiently("an answer", socket.recv_from(&mut answer)).await;
            let (len, from) = answered.unwrap();
            assert_eq!((&answer[..len], from.port), (&b"question"[..], target.port));
        }
        let many = [(&b"one"[..], &target), (b"two", &target), (b"six", &target)];
        assert_eq!(socket.send_many(&many).await.unwrap(), 3);
        let mut came = Vec::new();
        while came.len() < 3 {
            let receiving = socket.recv_many(|payload, _| came.push(payload.to_vec()));
            patiently("answers", receiving).await.unwrap();
        }
        assert_eq!(came, [b"one", b"two", b"six"]);
    }
}

#[tokio::test]
#[ignore = "needs dante-server"]
async fn dante_waits_for_peers_of_ours_and_of_our_clients() {
    let dante = server::dante().await;
    let ours = through(&dante).await;
    let by_socks4 = Socks4Connector::new(dante.addr().into(), direct());
    let peer = Target::new(V4, 0);
    for listening in [
        socks5(dante.addr()).bind(peer.clone()).await,
        socks5(ours.addr()).bind(peer.clone()).await,
        by_socks4.bind(peer.clone()).await,
        Socks4Connector::new(ours.addr().into(), direct())
            .bind(peer)
            .await,
    ] {
        let listening = listening.unwrap();
        let addr = listening.addr().socket_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(addr), listening.accept());
        let (mut peer, (upstream, from)) = (peer.unwrap(), accepted.unwrap());
        assert_eq!(from, peer.local_addr().unwrap().into());
        let mut stream = upstream.io;
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }
}

/// A proxy of ours whose UDP and BIND go through `upstream`.
async fn through(upstream: &Server) -> Proxy {
    let rules = NameRules::new(Rules::new().permit_all_special());
    let udp = UdpAssociate::through(rules.clone(), socks5(upstream.addr()));
    let bind = BindLayer::through(rules, socks5(upstream.addr()));
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new().with_versions(Versions::ALL))
        .layer(AuthenticateLayer::new(NoAuth))
        .service(
            ByCommand::new()
                .bind(bind.layer(Relay::new()))
                .udp_associate(udp),
        );
    Proxy::spawn(stack).await
}

#[tokio::test]
#[ignore = "needs openssh-server"]
async fn ssh_s_dynamic_forwarding_is_gone_through_by_all_versions() {
    let ssh = server::ssh().await;
    assert_carries(&socks5(ssh.addr()), false).await;
    assert_carries(&socks5(ssh.addr()), true).await;
    let socks4 = Socks4Connector::new(ssh.addr().into(), direct());
    assert_carries(&socks4, false).await;
    assert_carries(&socks4, true).await;
    // It grants before it knows, and hangs up.
    let closed = ClosedPort::new().addr().to_string();
    match connect(&socks5(ssh.addr()), &closed).await {
        Ok(mut stream) => assert!(stream.read_u8().await.is_err()),
        Err(error) => assert!(error.is::<Error>()),
    }
}

#[tokio::test]
#[ignore = "needs tor"]
async fn tor_s_refusals_are_told_apart() {
    let tor = server::tor().await;
    let why = async |target: &str| failure(&socks5(tor.addr()), target).await;
    // What needs no network to know.
    let (failed, code) = why("no.onion:80").await;
    assert_eq!(failed, UpstreamFailure::RefusedTarget);
    assert!(
        matches!(code, Some(ReplyCode(1 | 2 | 4 | 0xf6))),
        "{code:?}"
    );
    let (failed, code) = why("127.0.0.1:80").await;
    assert_eq!(failed, UpstreamFailure::RefusedTarget, "{code:?}");
    let socks4 = Socks4Connector::new(tor.addr().into(), direct());
    let rejected = (
        UpstreamFailure::RefusedTarget,
        Some(ReplyCode::GENERAL_FAILURE),
    );
    assert_eq!(failure(&socks4, "no.onion:80").await, rejected);
}

#[tokio::test]
#[ignore = "needs tinyproxy"]
async fn tinyproxy_is_gone_through_by_connect() {
    let config = |more: &str| format!("Port {{port}}\nListen 127.0.0.1\nTimeout 60\n{more}\n");
    let start = async |more: &str| {
        let args = ["-d", "-c", "{config}"];
        Server::start_configured("tinyproxy", "tinyproxy", &args, &config(more)).await
    };
    let open = start("").await;
    let http = |proxy: &Server| HttpConnector::new(proxy.addr().into(), direct());
    assert_carries(&http(&open), false).await;
    assert_carries(&http(&open), true).await;
    let closed = ClosedPort::new().addr().to_string();
    let (failed, code) = failure(&http(&open), &closed).await;
    assert_eq!(failed, UpstreamFailure::RefusedTarget, "{code:?}");

    let guarded = start("BasicAuth joe s3cret").await;
    let joe = Credentials::new("joe", "s3cret").unwrap();
    assert_carries(&http(&guarded).with_credentials(&joe), true).await;
    assert_eq!(failure(&http(&guarded), &closed).await, NOT_US);

    // Not to any port.
    let narrow = start("ConnectPort 443").await;
    let (failed, code) = failure(&http(&narrow), "127.0.0.1:80").await;
    assert_eq!(failed, UpstreamFailure::RefusedTarget, "{code:?}");
    assert_eq!(code, Some(ReplyCode::CONNECTION_NOT_ALLOWED));
}

#[tokio::test]
#[ignore = "needs haproxy and tinyproxy"]
async fn haproxy_is_gone_through_by_tls_to_a_proxy_behind_it() {
    let config = "Port {port}\nListen 127.0.0.1\nTimeout 60\n";
    let args = ["-d", "-c", "{config}"];
    let behind = Server::start_configured("tinyproxy", "tinyproxy", &args, config).await;
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let config = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen proxies\n bind 127.0.0.1:{{port}} ssl crt {{folder}}/pem alpn h2,http/1.1\n \
         server one {}\n",
        behind.addr()
    );
    let pem = cert.pem() + &signing_key.serialize_pem();
    let args = ["-db", "-f", "{config}"];
    let haproxy = Server::start_with("haproxy", "haproxy", &args, &config, &[("pem", &pem)]).await;

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let url = format!("https://localhost:{}", haproxy.addr().port());
    let connector = ProxyConnector::new(url.parse().unwrap(), direct()).with_tls(&client);
    assert_carries(&connector, false).await;
    assert_carries(&connector, true).await;
    let closed = ClosedPort::new().addr().to_string();
    let (failed, code) = failure(&connector, &closed).await;
    assert_eq!(failed, UpstreamFailure::RefusedTarget, "{code:?}");
}

#[tokio::test]
#[ignore = "needs rama"]
async fn rama_s_server_is_gone_through() {
    let rama = env::var("SOCKS_TESTS_RAMA").expect("the path of peer-rama, which .ci/run builds");
    let closed = ClosedPort::new().addr().to_string();
    let start = async |more: &[&str]| {
        let args = [&["127.0.0.1:{port}"], more].concat();
        Server::start(&rama, "rust-src", &args).await
    };
    let open = start(&[]).await;
    assert_carries(&socks5(open.addr()), false).await;
    assert_carries(&socks5(open.addr()).with_credentials(joe()), false).await;
    assert_carries(&socks5(open.addr()).with_one_flight(), false).await;
    assert_eq!(failure(&socks5(open.addr()), &closed).await, REFUSED);
    // It is built without a resolver, and knows no name.
    assert_eq!(failure(&socks5(open.addr()), "localhost:80").await, REFUSED);

    let guarded = start(&["joe:s3cret@!"]).await;
    let known = socks5(guarded.addr()).with_credentials(joe());
    assert_carries(&known, false).await;
    assert_carries(&known.with_one_flight(), false).await;
    assert_eq!(failure(&socks5(guarded.addr()), &closed).await, NOT_US);
    let wrong = Credentials::new("joe", "guess").unwrap();
    let wrong = socks5(guarded.addr()).with_credentials(wrong);
    assert_eq!(failure(&wrong, &closed).await, NOT_US);
}
