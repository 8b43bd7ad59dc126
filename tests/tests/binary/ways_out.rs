//! Through other proxies, directly, or not at all.

use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use socks_tests::{
    child::{self, Child},
    client::{Refused, assert_echoes, associate},
    origin::{Origin, V4},
    patiently,
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, BoxError, Command, ConnectLayer, DialError, DomainName, Error,
    HandshakeLayer, HttpConnectLayer, Identity, NoAuth, Outbound, Relay, ReplyCode, Request,
    Session, Socks5Connector, Target, Users, Versions,
    front::tls::TlsLayer,
    works::upstream::{UpstreamError, direct},
};
use tokio::net::TcpStream;
use tower::{ServiceBuilder, ServiceExt, service_fn};

type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that notes what it is asked for, and by whom, and always leads to `origin`.
struct Upstream {
    asked: Asked,
    proxy: Proxy,
}

impl Upstream {
    async fn new(origin: &Origin, users: Option<Users>) -> Self {
        let asked = Asked::default();
        let addr = origin.addr();
        let notes = asked.clone();
        let connector = service_fn(move |request: Request| {
            let user = request.session.identity.as_ref().map(Identity::as_str);
            let protocol = request.session.protocol.unwrap();
            let note = format!("{protocol} {} {}", user.unwrap_or("-"), request.target);
            notes.lock().unwrap().push(note);
            async move { TcpStream::connect(addr).await.map_err(DialError::from) }
        });
        let (authenticate, http) = match users {
            Some(users) => (
                AuthenticateLayer::password(users.clone()),
                HttpConnectLayer::password(users),
            ),
            None => (AuthenticateLayer::new(NoAuth), HttpConnectLayer::open()),
        };
        let handshake = HandshakeLayer::new().with_versions(Versions::ALL);
        let stack = ServiceBuilder::new()
            .layer(http.or((handshake, authenticate)))
            .layer(ConnectLayer::new(connector))
            .service(Relay::new());
        let proxy = Proxy::spawn(stack).await;
        Self { asked, proxy }
    }

    fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}{}", self.proxy.addr())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Asks the child for a tunnel to `target`, which may be a name.
async fn tunnel(child: &Child, target: &str) -> Result<Outbound<TcpStream>, Error> {
    let target: Target = target.parse().unwrap();
    let request = Request::new(Session::new(), Command::CONNECT, target);
    let connector = Socks5Connector::new(child.addr().into(), direct());
    patiently("a tunnel", connector.oneshot(request)).await
}

/// The code with which the child refuses `target`.
async fn refusal(child: &Child, target: &str) -> ReplyCode {
    let error = BoxError::from(tunnel(child, target).await.unwrap_err());
    let error = std::error::Error::source(&*error).unwrap();
    let error: &UpstreamError = error.downcast_ref().unwrap();
    error.code().unwrap()
}

async fn assert_reaches(child: &Child, target: &str) {
    let mut tunnel = tunnel(child, target).await.unwrap();
    assert_echoes(&mut tunnel.io, b"there and back").await;
}

#[tokio::test]
async fn everything_goes_through_the_upstream_which_is_told_names() {
    let origin = Origin::echo(V4).await;
    let users = Users::new().with("joe", "se=c:ret").unwrap();
    let upstream = Upstream::new(&origin, Some(users)).await;
    for (scheme, login, expected) in [
        ("socks5h", "joe:se=c%3Aret@", "socks5 joe a.example:80"),
        ("http", "joe:se=c:ret@", "http/1.1 joe a.example:80"),
    ] {
        let url = upstream.url(scheme, login);
        let child = Child::start(&["--upstream", &url]).await;
        assert_reaches(&child, "a.example:80").await;
        assert_eq!(upstream.asked(), [expected]);
        assert!(!child.log().contains("ret"), "{}", child.log());
    }
    let open = Upstream::new(&origin, None).await;
    let child = Child::start(&["--upstream", &open.url("socks4a", "joe@")]).await;
    assert_reaches(&child, "a.example:80").await;
    assert_eq!(open.asked(), ["socks4a - a.example:80"]);

    // These are told addresses, which are judged.
    for scheme in ["socks5", "socks4"] {
        let url = open.url(scheme, "");
        let child = Child::start(&["--upstream", &url]).await;
        assert_eq!(refusal(&child, "localhost:80").await.0, 2);
        let child = Child::start(&["--upstream", &url, "--allow-private"]).await;
        assert_reaches(&child, "localhost:80").await;
        let asked = open.asked();
        assert!(!asked[0].contains("localhost"), "{asked:?}");
        assert_eq!(asked.len(), 1);
    }
}

#[tokio::test]
async fn the_first_route_that_matches_counts() {
    let origin = Origin::echo(V4).await;
    let port = origin.addr().port();
    let (one, other) = tokio::join!(Upstream::new(&origin, None), Upstream::new(&origin, None));
    let child = Child::start(&[
        "--allow-private",
        "--upstream",
        &one.url("socks5h", ""),
        "--route",
        "ads.b.example=deny",
        "--route",
        &format!("b.example={}", other.url("http", "")),
        "--route",
        "127.0.0.0/8=direct",
        "--route",
        "192.0.2.7=deny",
    ])
    .await;

    assert_reaches(&child, "a.example:80").await;
    assert_reaches(&child, "x.B.example.:80").await;
    assert_eq!(refusal(&child, "x.ads.b.example:80").await.0, 2);
    assert_eq!(refusal(&child, "192.0.2.7:80").await.0, 2);
    assert_reaches(&child, "192.0.2.8:80").await;
    assert_reaches(&child, &format!("127.0.0.1:{port}")).await;
    assert_eq!(one.asked().len(), 2);
    assert_eq!(other.asked().len(), 1);

    // Without an upstream, what no route matches goes out directly.
    let route = format!("*.b.example={}", other.url("socks5h", ""));
    let child = Child::start(&["--allow-private", "--route", &route, "--route", "*=direct"]).await;
    assert_reaches(&child, &format!("127.0.0.1:{port}")).await;
    assert_reaches(&child, "b.example:80").await;
    assert_eq!(other.asked().len(), 1);
}

#[tokio::test]
async fn what_is_private_is_kept_from_the_upstream_which_is_on_this_machine_itself() {
    let origin = Origin::echo(V4).await;
    let upstream = Upstream::new(&origin, None).await;
    let child = Child::start(&["--upstream", &upstream.url("socks5h", "")]).await;
    for target in ["localhost:80", "127.0.0.1:80", "10.0.0.1:80", "[::1]:80"] {
        assert_eq!(refusal(&child, target).await.0, 2, "{target}");
    }
    child.wait_for_log("--allow-private").await;
    assert!(upstream.asked().is_empty());
    assert_reaches(&child, "a.example:80").await;
}

#[tokio::test]
async fn datagrams_do_not_leave_by_another_way() {
    let origin = Origin::echo(V4).await;
    let upstream = Upstream::new(&origin, None).await;
    for args in [
        ["--upstream", &upstream.url("socks5h", "")],
        ["--route", "a.example=deny"],
    ] {
        let child = Child::start(&args).await;
        let refused = associate(child.addr()).await.unwrap_err();
        assert_eq!(refused, Refused::Request(7), "{args:?}");
    }
}

#[tokio::test]
async fn datagrams_and_bind_go_through_upstreams_that_can() {
    let (target, _echoing) = crate::limits::echo(V4).await;
    let by_name = Target::new(DomainName::new("localhost").unwrap(), target.port());
    // The echo has no IPv6, of which a datagram would not hear.
    let ipv4 = ["--family", "ipv4"];
    let inner = Child::start(&[&["--allow-private", "--bind"], &ipv4[..]].concat()).await;
    let url = |scheme: &str| format!("{scheme}://{}", inner.addr());
    for schemes in [
        &["socks5h"][..],
        // The name is looked up here.
        &["socks5"],
        &["http", "socks4a", "socks5h"],
    ] {
        let args = [&["--allow-private", "--bind"], &ipv4[..]].concat();
        let mut args: Vec<_> = args.into_iter().map(str::to_owned).collect();
        for scheme in schemes {
            args.extend(["--upstream".to_owned(), url(scheme)]);
        }
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let child = Child::start(&args).await;
        let client = Socks5Connector::new(child.addr().into(), direct());

        let socket = client.associate().await.unwrap();
        for target in [&target.into(), &by_name] {
            socket.send_to(b"question", target).await.unwrap();
            let mut answer = [0; 64];
            let answered = patiently("an answer", socket.recv_from(&mut answer)).await;
            let (len, _) = answered.unwrap();
            assert_eq!(&answer[..len], b"question", "{schemes:?}");
        }

        let listening = client.bind(Target::new(V4, 0)).await.unwrap();
        let addr = listening.addr().socket_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(addr), listening.accept());
        assert_eq!(
            accepted.unwrap().1,
            peer.unwrap().local_addr().unwrap().into()
        );
    }
    // Nobody is let in where nobody was lifted.
    let child = Child::start(&["--bind", "--upstream", &url("socks5h")]).await;
    let client = Socks5Connector::new(child.addr().into(), direct());
    let refused = client.bind(Target::new(V4, 0)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ReplyCode::CONNECTION_NOT_ALLOWED));
    let listening = client.bind(Target::UNSPECIFIED).await.unwrap();
    let addr = listening.addr().socket_addr().unwrap();
    let (_peer, accepted) = tokio::join!(TcpStream::connect(addr), listening.accept());
    accepted.unwrap_err();
}

#[tokio::test]
async fn of_several_upstreams_one_that_is_gone_is_not_missed() {
    let origin = Origin::echo(V4).await;
    let (one, other) = tokio::join!(Upstream::new(&origin, None), Upstream::new(&origin, None));
    let (first, second) = (one.url("socks5h", ""), other.url("http", ""));
    let child = Child::start(&["--upstream", &first, "--upstream", &second]).await;
    for _ in 0..20 {
        assert_reaches(&child, "a.example:80").await;
    }
    let asked = (one.asked().len(), other.asked().len());
    assert_eq!(asked.0 + asked.1, 20);
    assert!(asked.0 > 0 && asked.1 > 0, "{asked:?}");

    one.proxy.shut_down().await;
    for _ in 0..20 {
        assert_reaches(&child, "a.example:80").await;
    }
    assert_eq!(other.asked().len(), 20);
    child.wait_for_log("upstream is out").await;
}

#[tokio::test]
async fn whoever_does_not_answer_is_told_by_what_it_did() {
    let hung = Origin::serve(V4, |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = gone.local_addr().unwrap();
    let url = |addr| format!("socks5h://{addr}");
    for args in [
        // It is the proxy's fault: it did not let us ask.
        vec![url(hung.addr())],
        vec![url(gone)],
        vec![url(gone), url(gone)],
        vec![url(hung.addr()), url(hung.addr())],
    ] {
        let mut all = vec!["--connect-timeout", "1"];
        for url in &args {
            all.extend(["--upstream", url]);
        }
        let child = Child::start(&all).await;
        assert_eq!(refusal(&child, "a.example:80").await.0, 1, "{args:?}");
    }
}

#[tokio::test]
async fn a_mistake_is_an_error_at_the_start_that_shows_no_password() {
    let urls = [
        "socks6://joe:secret@a.example",
        "socks5://joe:secret@a.example/path",
        "joe:secret@a.example",
        "socks5://:secret@a.example",
    ];
    let routes = [
        "a.example",
        "socks5h://joe:sec=secret@a.example",
        "socks5h://joe:secret@a.example",
        "a.*.example=direct",
        "192.0.2.0/33=direct",
        "=direct",
        "münchen.example=deny",
        "a.example=nowhere",
        "a.example=",
    ];
    for url in urls {
        let ran = child::run(&["--upstream", url]).await;
        ran.expect_failure(1, "--upstream");
        assert!(!ran.stderr.contains("secret"), "{ran}");
        let ran = child::run(&["--route", &format!("a.example={url}")]).await;
        ran.expect_failure(1, "--route");
        assert!(!ran.stderr.contains("secret"), "{ran}");
    }
    for route in routes {
        let ran = child::run(&["--route", route]).await;
        ran.expect_failure(1, "--route (number 1)");
        assert!(!ran.stderr.contains("sec"), "{ran}");
    }
    for other in ["--bind", "--resolve-commands"] {
        let ran = child::run(&[other, "--route", "a.example=deny"]).await;
        ran.expect_failure(1, other);
    }
    let ran = child::run(&["--resolve-commands", "--upstream", "socks5h://a.example"]).await;
    ran.expect_failure(1, "--resolve-commands");
}

#[tokio::test]
async fn an_upstream_over_tls_is_one_that_the_system_trusts() {
    let origin = Origin::echo(V4).await;
    let addr = origin.addr();
    let connector = service_fn(move |_: Request| async move {
        TcpStream::connect(addr).await.map_err(DialError::from)
    });
    let names = ["localhost".to_owned()];
    let [good, other] = [0; 2].map(|_| generate_simple_self_signed(names.clone()).unwrap());
    let key = PrivatePkcs8KeyDer::from(good.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![good.cert.der().clone()], key.into())
        .unwrap();
    let stack = ServiceBuilder::new()
        .layer(TlsLayer::new(Arc::new(config)))
        .layer(HttpConnectLayer::open())
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let proxy = Proxy::spawn(stack).await;
    let url = format!("https://localhost:{}", proxy.addr().port());

    let file = std::env::temp_dir().join(format!("socks-tests-pem-{}", std::process::id()));
    let trusting = async |certificate: &CertifiedKey<KeyPair>| {
        std::fs::write(&file, certificate.cert.pem()).unwrap();
        Child::start_trusting(&file, &["--upstream", &url]).await
    };
    assert_reaches(&trusting(&good).await, "a.example:80").await;
    let child = trusting(&other).await;
    assert_eq!(
        refusal(&child, "a.example:80").await,
        ReplyCode::GENERAL_FAILURE
    );
    std::fs::remove_file(&file).unwrap();
}
