use std::sync::Arc;

use socks_core::Host;
use tokio_rustls::{
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tower_service::Service;

use crate::session::{
    BoxError, BoxWork, Connector, IntoOutbound, Outbound, Request, always_ready, opaque_future,
};

/// Connects by `C`, and speaks TLS from then on: for proxies that want it, be it
/// HTTP ("HTTPS proxies") or SOCKS. It comes with the feature `tls`.
///
/// It stands between a connector through a proxy and what reaches that proxy, whose
/// name, or address, the certificate must be for. The configuration is the caller's,
/// as for [`TlsLayer`](crate::front::tls::TlsLayer).
///
/// ```
/// use std::sync::Arc;
/// use socks_tower::{
///     Connector, Request, Socks5Connector, Target,
///     front::tls::rustls::ClientConfig,
///     works::upstream::{TlsConnector, direct},
/// };
///
/// fn through(proxy: Target, config: ClientConfig) -> impl Connector<Request> {
///     let to_proxy = TlsConnector::new(Arc::new(config), direct());
///     Socks5Connector::new(proxy, to_proxy)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TlsConnector<C> {
    config: Arc<ClientConfig>,
    inner: C,
}

impl<C> TlsConnector<C> {
    /// Over what `inner` connects to.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>, inner: C) -> Self {
        Self { config, inner }
    }
}

opaque_future! {
    /// The future of [`TlsConnector`].
    TlsConnectorFuture<Io> -> Result<Outbound<TlsStream<Io>>, BoxError> = BoxWork<Outbound<TlsStream<Io>>>
}

impl<C: Connector<Request>> Service<Request> for TlsConnector<C> {
    type Response = Outbound<TlsStream<C::Io>>;
    type Error = BoxError;
    type Future = TlsConnectorFuture<C::Io>;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { config, inner } = self.clone();
        TlsConnectorFuture::new(Box::pin(async move {
            let name = match &request.target.host {
                Host::Ip(ip) => ServerName::from(*ip),
                Host::Name(name) => ServerName::try_from(name.as_str().to_owned())?,
            };
            let outbound = inner.run(request).await?.into_outbound();
            let local_addr = outbound.local_addr();
            let Outbound {
                io, guard, bound, ..
            } = outbound;
            let io = tokio_rustls::TlsConnector::from(config)
                .connect(name, io)
                .await?;
            Ok(Outbound {
                io,
                local_addr,
                guard,
                bound,
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use socks_core::{Target, v5::Command};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer},
    };
    use tower::service_fn;

    use super::*;
    use crate::{
        session::{Error, ErrorKind, Session, Work},
        works::upstream::Socks5Connector,
    };

    /// Both ends' configurations, with a certificate for `proxy.example`.
    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["proxy.example".to_owned()]).unwrap();
        let cert = cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key.into())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }

    async fn connects(proxy: &str) -> Result<Vec<u8>, Error> {
        let (server, client) = configs();
        let inner = service_fn(move |_: Request| {
            let (near, far) = duplex(4096);
            let acceptor = TlsAcceptor::from(Arc::clone(&server));
            tokio::spawn(async move {
                let Ok(mut io) = acceptor.accept(far).await else {
                    return;
                };
                let mut heard = [0; 3];
                io.read_exact(&mut heard).await.unwrap();
                io.write_all(b"\x05\x00").await.unwrap();
                let mut heard = [0; 10];
                io.read_exact(&mut heard).await.unwrap();
                io.write_all(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00hello")
                    .await
                    .unwrap();
                io.shutdown().await.unwrap();
            });
            async move { Ok::<_, Infallible>(near) }
        });
        let proxy = proxy.parse().unwrap();
        let connector = Socks5Connector::new(proxy, TlsConnector::new(client, inner));
        let target = "192.0.2.1:80".parse::<Target>().unwrap();
        let request = Request::new(Session::new(), Command::CONNECT, target);
        let upstream = connector.run(request).await;
        let mut io = upstream
            .map_err(|error| *error.downcast::<Error>().unwrap())?
            .io;
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        Ok(rest)
    }

    #[tokio::test]
    async fn a_proxy_may_want_tls() {
        assert_eq!(connects("proxy.example:1080").await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn a_proxy_with_the_certificate_of_another_is_not_reached() {
        let error = connects("other.example:1080").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Upstream);
        let all = crate::session::Chain(&error).to_string();
        assert!(
            all.contains("could not be reached: invalid peer certificate"),
            "{all}"
        );
    }
}
