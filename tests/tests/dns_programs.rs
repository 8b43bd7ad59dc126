//! DNS servers of others: unbound over UDP, TCP, TLS and HTTPS, and dnsmasq.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use socks_tests::patiently;
use socks_tower::{Command, DnsResolver, DnsServer, DomainName, LookupError, Request, Session};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command as Program},
    time::sleep,
};
use tower::ServiceExt;

/// A server and its files, which go when this is dropped.
struct Server {
    addr: SocketAddr,
    dir: PathBuf,
    _process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A port that was free a moment ago; nobody else here asks for this one.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn start(name: &str, program: &mut Program, addr: SocketAddr, dir: PathBuf) -> Server {
    let process = program
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|_| panic!("apt-get install {name}"));
    Server {
        addr,
        dir,
        _process: process,
    }
}

async fn listens(addr: SocketAddr) {
    let listens = async {
        while TcpStream::connect(addr).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    patiently("the start of the server", listens).await;
}

fn directory(addr: SocketAddr) -> PathBuf {
    let dir =
        std::env::temp_dir().join(format!("socks-dns-{}-{}", std::process::id(), addr.port()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Unbound with a zone of its own, also over TLS at the second address, and over
/// HTTPS at the third.
async fn unbound(certificate: &CertifiedKey<rcgen::KeyPair>) -> (Server, SocketAddr, SocketAddr) {
    unbound_with(certificate, None).await
}

/// As [`unbound`], with a file of `signed.example`.
async fn unbound_with(
    certificate: &CertifiedKey<rcgen::KeyPair>,
    signed: Option<&Path>,
) -> (Server, SocketAddr, SocketAddr) {
    let (addr, tls, https) = (free().await, free().await, free().await);
    let dir = directory(addr);
    let (pem, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&pem, certificate.cert.pem()).unwrap();
    fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let mut config = format!(
        "server:\n interface: {ip}@{port}\n interface: {ip}@{tls_port}\n tls-port: {tls_port}\n\
         \x20interface: {ip}@{https_port}\n https-port: {https_port}\n\
         \x20tls-service-pem: \"{pem}\"\n tls-service-key: \"{key}\"\n do-daemonize: no\n\
         \x20username: \"\"\n chroot: \"\"\n pidfile: \"\"\n directory: \"{dir}\"\n\
         \x20use-syslog: no\n module-config: \"iterator\"\n do-not-query-localhost: no\n\
         \x20local-zone: \"test.\" static\n local-zone: \"refused.\" refuse\n\
         \x20local-data: \"db.test. 60 A 11.0.0.1\"\n\
         \x20local-data: \"db.test. 60 AAAA 2600::1\"\n\
         \x20local-data: \"v4.test. 60 A 11.0.0.2\"\n\
         \x20local-data-ptr: \"11.0.0.1 60 db.test.\"\n",
        ip = addr.ip(),
        port = addr.port(),
        tls_port = tls.port(),
        https_port = https.port(),
        pem = pem.display(),
        key = key.display(),
        dir = dir.display(),
    );
    for last in 1..=100 {
        writeln!(config, " local-data: \"many.test. 60 A 11.0.1.{last}\"").unwrap();
    }
    config.push_str("remote-control:\n control-enable: no\n");
    if let Some(zone) = signed {
        let zone = zone.display();
        writeln!(
            config,
            "auth-zone:\n name: \"signed.example.\"\n zonefile: \"{zone}\"\n for-upstream: no"
        )
        .unwrap();
    }
    let path = dir.join("unbound.conf");
    fs::write(&path, config).unwrap();
    let mut program = Program::new("unbound");
    program
        .env("PATH", "/usr/sbin:/usr/bin:/bin")
        .args(["-d", "-c"])
        .arg(path);
    let server = start("unbound", &mut program, addr, dir);
    listens(addr).await;
    listens(tls).await;
    listens(https).await;
    (server, tls, https)
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["dns.test".to_owned()]).unwrap()
}

fn trusting(certificate: &CertifiedKey<rcgen::KeyPair>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn resolver(server: impl Into<DnsServer>) -> DnsResolver {
    DnsResolver::new([server.into()])
        .with_hosts_file(false)
        .with_search([], 1)
}

async fn look_up(resolver: &DnsResolver, name: &str) -> Result<Vec<IpAddr>, LookupError> {
    let name = DomainName::new(name).unwrap();
    let asked = Request::new(Session::new(), Command::CONNECT, name);
    match patiently("an answer", resolver.clone().oneshot(asked)).await {
        Ok(answer) => Ok(answer.addrs().to_vec()),
        Err(error) => Err(*error.downcast().unwrap()),
    }
}

/// The zone, as every way of asking must show it.
async fn assert_is_served(resolver: &DnsResolver) {
    let expected: [IpAddr; 2] = ["11.0.0.1".parse().unwrap(), "2600::1".parse().unwrap()];
    patiently("both families", async {
        // The first answer does not wait long for a family that is late.
        loop {
            let mut both = look_up(resolver, "db.test").await.unwrap();
            both.sort();
            if both == expected {
                break;
            }
            assert!(expected.contains(&both[0]) && both.len() == 1, "{both:?}");
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(look_up(resolver, "v4.test").await.unwrap().len(), 1);
    assert_eq!(look_up(resolver, "many.test").await.unwrap().len(), 100);
    let error = look_up(resolver, "nowhere.test").await.unwrap_err();
    assert!(matches!(error, LookupError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
#[ignore = "needs unbound"]
async fn unbound_answers_over_udp_and_tcp() {
    let (server, ..) = unbound(&certificate()).await;
    let resolver = resolver(server.addr);
    assert_is_served(&resolver).await;
    let error = look_up(&resolver, "a.refused").await.unwrap_err();
    assert!(matches!(error, LookupError::Failed { .. }), "{error:?}");
    let ip: IpAddr = "11.0.0.1".parse().unwrap();
    let asked = Request::new(Session::new(), Command::RESOLVE_PTR, ip);
    let names = resolver.reverse().oneshot(asked).await.unwrap();
    assert_eq!(names, ["db.test".parse().unwrap()]);
}

#[tokio::test]
#[ignore = "needs unbound"]
async fn unbound_answers_over_tls_if_its_certificate_is_believed() {
    let certificate = certificate();
    let (_server, tls, _) = unbound(&certificate).await;
    let server = DnsServer::tls(tls, "dns.test");
    let resolver = resolver(server.clone()).with_tls(trusting(&certificate));
    assert_is_served(&resolver).await;

    // Another's certificate, another name, and whoever the system believes.
    let other_name = DnsServer::tls(tls, "other.test");
    for distrusting in [
        self::resolver(server.clone()).with_tls(trusting(&self::certificate())),
        self::resolver(other_name).with_tls(trusting(&certificate)),
        self::resolver(server),
    ] {
        let error = look_up(&distrusting, "db.test").await.unwrap_err();
        assert!(matches!(error, LookupError::Failed { .. }), "{error:?}");
    }
}

#[tokio::test]
#[ignore = "needs unbound"]
async fn unbound_answers_over_https_if_its_certificate_is_believed() {
    let certificate = certificate();
    let (_server, _, https) = unbound(&certificate).await;
    let server = |path: &str| DnsServer::https(https, "dns.test", path);
    let believing = resolver(server("/dns-query")).with_tls(trusting(&certificate));
    assert_is_served(&believing).await;

    // Where there is nothing that answers questions, and another's certificate.
    for wrong in [
        resolver(server("/elsewhere")).with_tls(trusting(&certificate)),
        resolver(server("/dns-query")).with_tls(trusting(&self::certificate())),
    ] {
        let error = look_up(&wrong, "db.test").await.unwrap_err();
        assert!(matches!(error, LookupError::Failed { .. }), "{error:?}");
    }
}

/// `signed.example` in `dir`, with a name that was forged once all was signed; its file,
/// and its key.
async fn sign(dir: &Path) -> (PathBuf, String) {
    let ldns = async |program: &str, args: &[&str]| {
        let ran = Program::new(program).args(args).current_dir(dir).output();
        let ran = ran
            .await
            .unwrap_or_else(|_| panic!("apt-get install ldnsutils"));
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    let zone = "$ORIGIN signed.example.\n$TTL 60\n\
        @ SOA ns root 1 60 60 86400 60\n@ NS ns\nns A 127.0.0.1\n\
        db A 11.0.0.1\nforged A 11.0.0.2\n";
    fs::write(dir.join("zone"), zone).unwrap();
    let key = ldns(
        "ldns-keygen",
        &["-a", "ECDSAP256SHA256", "-k", "signed.example"],
    )
    .await;
    ldns("ldns-signzone", &["-f", "zone.signed", "zone", &key]).await;
    let file = dir.join("zone.signed");
    let signed = fs::read_to_string(&file).unwrap();
    fs::write(&file, signed.replace("11.0.0.2", "11.0.0.3")).unwrap();
    let key = fs::read_to_string(dir.join(format!("{key}.key"))).unwrap();
    (file, key)
}

#[tokio::test]
#[ignore = "needs unbound"]
async fn what_is_signed_is_believed_and_what_was_forged_is_not() {
    let dir = directory(free().await);
    let (zone, key) = sign(&dir).await;
    let (server, ..) = unbound_with(&certificate(), Some(&zone)).await;
    let trusting = resolver(server.addr);
    for name in ["db.signed.example", "forged.signed.example"] {
        assert!(look_up(&trusting, name).await.is_ok(), "{name}");
    }

    let validating = resolver(server.addr).with_trust_anchors(&key).unwrap();
    let found = look_up(&validating, "db.signed.example").await.unwrap();
    assert_eq!(found, ["11.0.0.1".parse::<IpAddr>().unwrap()]);
    let error = look_up(&validating, "forged.signed.example").await;
    assert!(
        matches!(error, Err(LookupError::Failed { .. })),
        "{error:?}"
    );
    // That there is nothing is signed, too.
    let error = look_up(&validating, "nowhere.signed.example").await;
    assert!(
        matches!(error, Err(LookupError::NotFound { .. })),
        "{error:?}"
    );

    assert!(resolver(server.addr).with_trust_anchors("no key").is_err());
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
#[ignore = "needs dnsmasq"]
async fn dnsmasq_answers() {
    let addr = free().await;
    let mut program = Program::new("dnsmasq");
    program.env("PATH", "/usr/sbin:/usr/bin:/bin").args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
        "--local=/test/",
        "--local-ttl=60",
        "--host-record=db.test,11.0.0.1,2600::1",
        "--host-record=v4.test,11.0.0.2",
        "--cname=alias.test,v4.test",
    ]);
    let many: Vec<_> = (1..=100)
        .map(|last| format!("--host-record=many.test,11.0.1.{last}"))
        .collect();
    program.args(many).arg(format!("--port={}", addr.port()));
    let server = start("dnsmasq-base", &mut program, addr, directory(addr));
    listens(addr).await;
    let resolver = resolver(server.addr);
    assert_is_served(&resolver).await;
    assert_eq!(
        look_up(&resolver, "alias.test").await.unwrap(),
        ["11.0.0.2".parse::<IpAddr>().unwrap()]
    );
}
