//! Under hyper-util's HTTP client, over TLS too.

use std::sync::Arc;

use http::Uri;
use http_body_util::BodyExt;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::Connect},
    rt::TokioExecutor,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use socks_tests::{
    content::Content,
    origin::{ClosedPort, Origin, V4},
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, ConnectLayer, Credentials, Error, ErrorKind, HttpConnectLayer,
    HttpConnector, ProxyConnector, Relay, Rules, Socks, Socks4Connector, Socks5Connector,
    UpstreamError, UpstreamFailure, Users,
    front::tls::TlsLayer,
    works::upstream::{EnvConnector, EnvProxies, TlsConnector, direct},
};
use tokio_rustls::TlsAcceptor;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

pub(crate) const PAGE: Content = Content::mib(2);

pub(crate) fn users() -> Users {
    Users::new().with("joe", "secret").unwrap()
}

pub(crate) fn joe() -> Credentials {
    Credentials::new("joe", "secret").unwrap()
}

/// Any version of SOCKS, with a password where there is room for one.
pub(crate) fn socks() -> Socks {
    Socks::new().with_rules(Rules::new().permit_all_special())
}

async fn assert_fetches<C>(connector: C, uri: Uri)
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector);
    for _ in 0..2 {
        let response = client.get(uri.clone()).await.unwrap();
        let page = response.into_body().collect().await.unwrap().to_bytes();
        PAGE.assert_is(&page);
    }
}

fn uri(scheme: &str, origin: &Origin) -> Uri {
    format!("{scheme}://localhost:{}/", origin.port())
        .parse()
        .unwrap()
}

#[tokio::test]
async fn hyper_s_client_goes_through_any_proxy() {
    let origin = Origin::http(V4, PAGE).await;
    let uri = uri("http", &origin);

    let open = Proxy::spawn(socks()).await;
    assert_fetches(
        Socks5Connector::new(open.addr().into(), direct()),
        uri.clone(),
    )
    .await;
    assert_fetches(
        Socks4Connector::new(open.addr().into(), direct()),
        uri.clone(),
    )
    .await;
    for scheme in ["socks4", "socks4a", "socks5", "socks5h"] {
        let url = format!("{scheme}://{}", open.addr()).parse().unwrap();
        assert_fetches(ProxyConnector::new(url, direct()), uri.clone()).await;
    }
    assert_fetches(
        EnvConnector::new(EnvProxies::default(), direct()),
        uri.clone(),
    )
    .await;

    let guarded = Proxy::spawn(socks().with_auth(AuthenticateLayer::password(users()))).await;
    let connector = Socks5Connector::new(guarded.addr().into(), direct()).with_credentials(joe());
    assert_fetches(connector.clone(), uri.clone()).await;
    assert_fetches(connector.with_one_flight(), uri.clone()).await;

    let http = ServiceBuilder::new()
        .layer(HttpConnectLayer::password(users()))
        .layer(ConnectLayer::new(direct()))
        .service(Relay::new());
    let http = Proxy::spawn(http).await;
    let connector = HttpConnector::new(http.addr().into(), direct()).with_credentials(&joe());
    assert_fetches(connector, uri).await;
}

/// Both ends of TLS, with a certificate for `localhost` and 127.0.0.1.
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: ClientConfig,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let certificate = cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            server: Arc::new(server),
            client,
            certificate,
        }
    }

    /// A server of pages over TLS.
    pub(crate) async fn origin(&self) -> Origin {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        Origin::serve(V4, move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    socks_tests::origin::serve_http(stream, PAGE).await;
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn hyper_s_client_speaks_tls_to_the_target_and_we_to_the_proxy() {
    let tls = Tls::new();
    let origin = tls.origin().await;
    let uri = uri("https", &origin);
    let https = |client: ClientConfig| {
        HttpsConnectorBuilder::new()
            .with_tls_config(client)
            .https_only()
            .enable_http1()
    };

    let plain = Proxy::spawn(socks()).await;
    let connector = Socks5Connector::new(plain.addr().into(), direct());
    assert_fetches(
        https(tls.client.clone()).wrap_connector(connector),
        uri.clone(),
    )
    .await;

    let within_tls = TlsLayer::new(tls.server).layer(socks());
    let proxy = Proxy::spawn(within_tls).await;
    let to_proxy = TlsConnector::new(Arc::new(tls.client.clone()), direct());
    let connector = Socks4Connector::new(proxy.addr().into(), to_proxy);
    assert_fetches(https(tls.client).wrap_connector(connector), uri).await;
}

#[tokio::test]
async fn an_https_url_leads_to_a_proxy_over_tls() {
    let tls = Tls::new();
    let origin = Origin::http(V4, PAGE).await;
    let uri = uri("http", &origin);
    let http = ServiceBuilder::new()
        .layer(TlsLayer::new(tls.server))
        .layer(HttpConnectLayer::password(users()))
        .layer(ConnectLayer::new(direct()))
        .service(Relay::new());
    let proxy = Proxy::spawn(http).await;
    let url = format!("https://joe:secret@localhost:{}", proxy.addr().port());
    let connector = ProxyConnector::new(url.parse().unwrap(), direct());
    assert_fetches(connector.clone().with_tls(&tls.client), uri.clone()).await;
    // Of a client that speaks another HTTP where it may.
    let mut client = tls.client;
    client.alpn_protocols = vec![b"h2".to_vec()];
    assert_fetches(connector.clone().with_tls(&client), uri).await;

    let stranger = connector.clone().with_tls(&Tls::new().client);
    for (connector, why) in [
        (
            connector,
            "it wants TLS, of which there is no configuration",
        ),
        (stranger, "invalid peer certificate"),
    ] {
        let error = crate::connect(&connector, origin.addr()).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Upstream);
        let said = error.get_ref().unwrap();
        let said = said.downcast_ref::<UpstreamError>().unwrap();
        assert_eq!(said.failure(), UpstreamFailure::Unreachable);
        let cause = std::error::Error::source(said).unwrap().to_string();
        assert!(cause.contains(why), "{cause}");
    }
}

#[tokio::test]
async fn hyper_s_client_is_told_who_refused() {
    let closed = ClosedPort::new();
    let proxy = Proxy::spawn(socks()).await;
    let failure = async |proxy: std::net::SocketAddr| {
        let mut connector = Socks5Connector::new(proxy.into(), direct());
        let uri = format!("http://{}", closed.addr()).parse::<Uri>().unwrap();
        let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector.clone());
        let all = client.get(uri.clone()).await.unwrap_err();
        assert!(all.is_connect());
        let ready = ServiceExt::<Uri>::ready(&mut connector).await.unwrap();
        let error: Error = ready.call(uri).await.unwrap_err();
        let said = error
            .get_ref()
            .unwrap()
            .downcast_ref::<UpstreamError>()
            .unwrap();
        (error.kind(), said.failure(), said.to_string())
    };
    let (kind, said, text) = failure(proxy.addr()).await;
    assert_eq!(
        (kind, said),
        (ErrorKind::Connect, UpstreamFailure::RefusedTarget)
    );
    assert_eq!(
        text,
        format!("the proxy {} refused the target", proxy.addr())
    );
    let (kind, said, _) = failure(closed.addr()).await;
    assert_eq!(
        (kind, said),
        (ErrorKind::Upstream, UpstreamFailure::Unreachable)
    );
}
