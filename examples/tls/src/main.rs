//! A SOCKS and HTTP proxy within TLS that knows its clients by their
//! certificates: no password is asked for.
//!
//! ```sh
//! cargo run -p tls
//! ```
//!
//! It writes its certificate, and one for a client, to a directory, and says how
//! to use them. A real one would read its own from files, and an authority would
//! issue its clients'.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, generate_simple_self_signed,
};
use rustls::{
    RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, HttpConnectLayer, Identity,
    NoAuth, Relay, ResolveLayer, Rules, Server, SystemResolver, TcpConnector, front::tls::TlsLayer,
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let dir = args.next().map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| env::temp_dir().join("socks-tower-tls"));
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());
    fs::create_dir_all(&dir)?;

    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(TcpConnector::new());

    // Who the client is, its certificate has said: the session's identity, for
    // rules, limits and logs. Here is the place to refuse one that is revoked.
    let tls = TlsLayer::new(Arc::new(config(&dir)?)).with_identity(|shown, _session| {
        let name = shown.common_name().ok_or("no common name")?;
        println!("{name} has come");
        Ok::<_, &str>(Identity::new(name))
    });
    let socks = (HandshakeLayer::new(), AuthenticateLayer::new(NoAuth));

    let proxy = ServiceBuilder::new()
        .layer(tls) // all that follows is encrypted
        .layer(HttpConnectLayer::open().or(socks))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());

    let server = Server::bind(addr.as_str()).await?;
    let (dir, addr) = (dir.display(), server.local_addr());
    println!("listening on {addr}");
    println!("curl --proxy-cacert {dir}/proxy.pem --proxy-cert {dir}/joe.pem --proxytunnel \\");
    println!(
        "     --proxy https://localhost:{} https://example.com/",
        addr.port()
    );
    server.serve(proxy).await?;
    Ok(())
}

/// TLS with a certificate of our own, for `localhost`. Clients show one that our
/// authority has issued: joe has.
fn config(dir: &Path) -> anyhow::Result<ServerConfig> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut joe = CertificateParams::default();
    joe.distinguished_name = DistinguishedName::new();
    joe.distinguished_name.push(DnType::CommonName, "joe");
    joe.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let joes_key = KeyPair::generate()?;
    let joe = joe.signed_by(&joes_key, &authority)?;
    let joes = joe.pem() + &joes_key.serialize_pem();
    fs::write(dir.join("joe.pem"), joes)?;

    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()])?;
    fs::write(dir.join("proxy.pem"), cert.pem())?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients.build()?)
        .with_single_cert(vec![cert.into()], key)?;
    Ok(config)
}
