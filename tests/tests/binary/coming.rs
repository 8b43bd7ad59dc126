//! How clients come in: without a password, within TLS, by a Unix socket.

use std::{net::IpAddr, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use socks_tests::{
    child::{self, Child},
    client::{Login, Refused, assert_echoes, socks4, socks5},
    origin::{Origin, V4},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::file::File;

const JOE: Option<Login<'_>> = Some(("joe", "s3cret"));

#[tokio::test]
async fn clients_of_a_network_need_no_password_and_others_do() {
    let origin = Origin::echo(V4).await;
    let users = ["--user=joe:s3cret", "--allow-private"];
    let open = Child::start(&[&users[..], &["--open-to=127.0.0.0/24"]].concat()).await;
    for login in [None, JOE] {
        let mut tunnel = socks5(open.addr(), login, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"let in").await;
    }
    assert!(socks4(open.addr(), origin.addr()).await.is_ok());
    assert_eq!(http(open.addr().port(), &origin).await, "200");
    let wrong = socks5(open.addr(), Some(("joe", "guess")), origin.addr()).await;
    assert_eq!(wrong.unwrap_err(), Refused::Password);

    let others = Child::start(&[&users[..], &["--open-to=192.0.2.0/24"]].concat()).await;
    assert!(socks5(others.addr(), JOE, origin.addr()).await.is_ok());
    let none = socks5(others.addr(), None, origin.addr()).await;
    assert_eq!(none.unwrap_err(), Refused::Method);
    let socks4 = socks4(others.addr(), origin.addr()).await;
    assert_eq!(socks4.unwrap_err(), Refused::Request(91));
    assert_eq!(http(others.addr().port(), &origin).await, "407");
}

#[tokio::test]
async fn without_users_a_network_that_is_open_is_all_that_is() {
    let origin = Origin::echo(V4).await;
    let nobody = Child::start(&["--allow-private", "--open-to=192.0.2.0/24"]).await;
    let refused = socks5(nobody.addr(), None, origin.addr()).await;
    assert_eq!(refused.unwrap_err(), Refused::Method);
    assert_eq!(http(nobody.addr().port(), &origin).await, "407");
}

async fn http(port: u16, origin: &Origin) -> String {
    let mut stream = TcpStream::connect((V4, port)).await.unwrap();
    let request = format!("CONNECT {} HTTP/1.1\r\n\r\n", origin.addr());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[tokio::test]
async fn the_outgoing_address_is_the_one_that_the_client_came_to() {
    let origin = Origin::serve(V4, async |mut stream: TcpStream| {
        let peer = stream.peer_addr().unwrap().ip();
        let _ = stream.write_all(peer.to_string().as_bytes()).await;
    })
    .await;
    let args = [
        "--listen=127.0.0.3:0",
        "--listen=127.0.0.4:0",
        "--allow-private",
    ];
    let child = Child::start_as(&[&args[..], &["--source-by=incoming"]].concat()).await;
    for &addr in child.addrs() {
        let mut tunnel = socks5(addr, None, origin.addr()).await.unwrap();
        let mut seen = String::new();
        tunnel.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen.parse::<IpAddr>().unwrap(), addr.ip());
    }
}

/// Asks for a tunnel to `origin` on any stream, without a password.
async fn tunnel<Io: AsyncRead + AsyncWrite + Unpin>(stream: &mut Io, origin: &Origin) {
    let [high, low] = origin.port().to_be_bytes();
    let asks = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low];
    stream.write_all(&asks).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..4], [5, 0, 5, 0]);
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_listened_on_and_gone_with_the_proxy() {
    use tokio::net::UnixStream;

    let origin = Origin::echo(V4).await;
    for runtime in ["per-thread", "shared"] {
        let name = format!("unix-{}-{runtime}.sock", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // One that a proxy which was killed has left.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listen = format!("unix:{}", path.display());
        let args = ["--listen", &listen, "--allow-private", "--runtime", runtime];
        let child = Child::start(&args).await;
        tunnel(&mut UnixStream::connect(&path).await.unwrap(), &origin).await;
        tunnel(
            &mut TcpStream::connect(child.addr()).await.unwrap(),
            &origin,
        )
        .await;

        let second = child::run(&["--listen", &listen]).await;
        second.expect_failure(1, &format!("cannot listen on {listen}"));
        child.terminate();
        assert!(child.wait().await.0.success());
        assert!(!path.exists());
    }
}

/// A certificate for localhost, an authority, and joe's certificate by it, as PEM.
struct Tls {
    cert: File,
    key: File,
    authority: File,
    server: CertificateDer<'static>,
    joe: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Tls {
    fn new() -> Self {
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
        let mut joe = CertificateParams::default();
        joe.distinguished_name = DistinguishedName::new();
        joe.distinguished_name.push(DnType::CommonName, "joe");
        let key = KeyPair::generate().unwrap();
        let joe = joe.signed_by(&key, &authority).unwrap();
        Self {
            cert: File::new(&server.cert.pem()),
            key: File::new(&server.signing_key.serialize_pem()),
            authority: File::new(&authority.pem()),
            server: server.cert.der().clone(),
            joe: (
                joe.der().clone(),
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            ),
        }
    }

    async fn connect(
        &self,
        proxy: std::net::SocketAddr,
        shows: bool,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = if shows {
            let (cert, key) = &self.joe;
            config
                .with_client_auth_cert(vec![cert.clone()], key.clone_key())
                .unwrap()
        } else {
            config.with_no_client_auth()
        };
        let stream = TcpStream::connect(proxy).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_said_and_a_reload_reads_the_certificate_again() {
    let origin = Origin::echo(V4).await;
    let tls = Tls::new();
    let args = [
        "--listen=tls://127.0.0.1:0",
        "--listen=127.0.0.1:0",
        "--allow-private",
    ];
    let certificate = [
        "--tls-cert",
        tls.cert.name(),
        "--tls-key",
        tls.key.name(),
        "--log=info",
    ];
    let child = Child::start_as(&[&args[..], &certificate].concat()).await;
    let [within, plain] = child.addrs() else {
        panic!()
    };
    tunnel(&mut tls.connect(*within, false).await, &origin).await;
    tunnel(&mut TcpStream::connect(plain).await.unwrap(), &origin).await;

    let renewed = Tls::new();
    tls.cert
        .write(&std::fs::read_to_string(renewed.cert.name()).unwrap());
    tls.key
        .write(&std::fs::read_to_string(renewed.key.name()).unwrap());
    child.signal(rustix::process::Signal::HUP);
    child.wait_for_log("reloaded").await;
    tunnel(&mut renewed.connect(*within, false).await, &origin).await;
}

#[tokio::test]
async fn a_certificate_says_who_the_client_is() {
    let origin = Origin::echo(V4).await;
    let tls = Tls::new();
    let rule = "--rule=deny user=joe port=9";
    let child = Child::start_as(&[
        "--listen=tls://127.0.0.1:0",
        "--allow-private",
        "--user=ann:pa55",
        "--log=info",
        rule,
        "--tls-cert",
        tls.cert.name(),
        "--tls-key",
        tls.key.name(),
        "--tls-client-ca",
        tls.authority.name(),
    ])
    .await;
    tunnel(&mut tls.connect(child.addr(), true).await, &origin).await;
    child.wait_for_log("joe").await;

    // TLS 1.3's client learns of the refusal when it reads.
    let mut without = tls.connect(child.addr(), false).await;
    let _ = without.write_all(&[5, 1, 0]).await;
    assert!(without.read_u8().await.is_err());
}

#[tokio::test]
async fn what_tls_lacks_is_said() {
    let tls = Tls::new();
    let listen = "--listen=tls://127.0.0.1:0";
    let cert = format!("--tls-cert={}", tls.cert.name());
    let key = format!("--tls-key={}", tls.key.name());
    for (args, why) in [
        (&[listen][..], "add --tls-cert and --tls-key"),
        (&[&cert, &key], "nobody listens with TLS"),
        (
            &[listen, &cert, "--tls-key=/nonexistent"],
            "--tls-key: /nonexistent: ",
        ),
        (
            &[listen, &cert, &cert.replace("cert=", "key=")],
            "--tls-key: ",
        ),
        (
            &[listen, &key.replace("key=", "cert="), &key],
            "no certificate is in it",
        ),
    ] {
        let ran = child::run(&[args, &["--check"]].concat()).await;
        ran.expect_failure(1, why);
    }
}
