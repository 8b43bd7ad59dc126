use std::io;

use tokio_rustls::{TlsAcceptor, rustls};
use tower_service::Service;

use super::{PeerCertificates, TlsLayer, TlsStream};
use crate::session::{
    Accepted, AuthenticatedBy, Error, ErrorKind, Rewind, Stage, StageFuture, Stream, always_ready,
    dismiss, opaque_future, timeout_at,
};

/// Speaks TLS with the client, then goes on to `S`. See the
/// [module's page](crate::front::tls).
#[derive(Clone, Debug)]
pub struct Tls<S> {
    pub(super) config: TlsLayer,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Tls`].
    TlsFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Accepted<Io>> for Tls<S>
where
    Io: Stream,
    S: Stage<Accepted<TlsStream<Io>>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = TlsFuture<S::Future>;

    always_ready!();

    fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
        let own = handshake(self.config.clone(), accepted);
        TlsFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn handshake<Io: Stream>(
    config: TlsLayer,
    accepted: Accepted<Io>,
) -> Result<Accepted<TlsStream<Io>>, Error> {
    let deadline = accepted.deadline(config.timeout);
    let Accepted {
        io,
        buffered,
        mut session,
        accepted_at,
    } = accepted;
    let accept = TlsAcceptor::from(config.tls).accept(Rewind::new(buffered, io));
    let mut io = match timeout_at(deadline, accept.into_fallible()).await {
        Ok(Ok(io)) => io,
        Ok(Err((error, mut io))) => {
            let kind = kind(&error);
            if kind != ErrorKind::ClientGone {
                // rustls has written its alert; see that it arrives.
                dismiss(&mut io, &[]).await;
            }
            return Err(Error::new(kind, error));
        }
        Err(elapsed) => return Err(Error::new(ErrorKind::Deadline, elapsed)),
    };
    let (_, connection) = io.get_ref();
    if let Some(chain) = connection.peer_certificates() {
        let certificates = PeerCertificates::shown(chain);
        session.extensions.insert(certificates.clone());
        if let Some(name) = &config.namer {
            let identity = match name(&certificates, &mut session) {
                Ok(identity) => identity,
                Err(error) => {
                    dismiss(&mut io, &[]).await;
                    return Err(Error::of_work(ErrorKind::Authentication, error));
                }
            };
            session.admit(Some(identity), AuthenticatedBy::Certificate);
            session.watch.learn(&session);
        }
    }
    Ok(Accepted {
        io: TlsStream::new(io),
        buffered: Vec::new(),
        session,
        accepted_at,
    })
}

/// Whose fault it is that there is no TLS. rustls's errors come within those of
/// the stream.
fn kind(error: &io::Error) -> ErrorKind {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            ErrorKind::Authentication
        }
        Some(_) => ErrorKind::Protocol,
        None => ErrorKind::ClientGone,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
    use rustls::{
        ClientConfig, HandshakeKind, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };
    use tokio_rustls::{TlsConnector, client};
    use tower::ServiceBuilder;
    use tower_layer::Layer;

    use super::*;
    use crate::{
        session::{ClientStream, Identity, Requested},
        stages::{
            authenticate::{AuthenticateLayer, NoAuth},
            handshake::HandshakeLayer,
        },
        test_support::{CONNECT, HELLO, Stop, accepted},
    };

    /// A certificate that signs itself, and its key.
    struct Certificate(CertificateDer<'static>, PrivateKeyDer<'static>);

    impl Certificate {
        fn new(name: &str) -> Self {
            let names = vec![name.to_owned()];
            let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
            Self(cert.into(), KeyPair::into(signing_key))
        }

        fn roots(&self) -> RootCertStore {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.clone()).unwrap();
            roots
        }
    }

    impl Clone for Certificate {
        fn clone(&self) -> Self {
            Self(self.0.clone(), self.1.clone_key())
        }
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(ring::default_provider())
    }

    /// Lets those in who have `client`, and those without a certificate too if
    /// it is `optional`.
    fn verifier(client: &Certificate, optional: bool) -> Arc<dyn ClientCertVerifier> {
        let roots = Arc::new(client.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        match optional {
            true => verifier.allow_unauthenticated().build().unwrap(),
            false => verifier.build().unwrap(),
        }
    }

    fn tls(server: &Certificate, clients: Option<Arc<dyn ClientCertVerifier>>) -> TlsLayer {
        let Certificate(certificate, key) = server.clone();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        };
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        TlsLayer::new(Arc::new(config))
    }

    async fn connect(
        io: DuplexStream,
        server: &Certificate,
        client: Option<&Certificate>,
    ) -> io::Result<client::TlsStream<DuplexStream>> {
        connect_with(io, client_config(server, client)).await
    }

    async fn connect_with(
        io: DuplexStream,
        config: Arc<ClientConfig>,
    ) -> io::Result<client::TlsStream<DuplexStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(config).connect(name, io).await
    }

    /// It remembers the sessions that it may resume.
    fn client_config(server: &Certificate, client: Option<&Certificate>) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(server.roots());
        let config = match client.cloned() {
            Some(Certificate(certificate, key)) => config
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        Arc::new(config)
    }

    type Greeted = Result<Requested<ClientStream<TlsStream<DuplexStream>>>, Error>;

    /// Sends a SOCKS5 request through TLS; gives what the client read, and what
    /// came of it.
    async fn socks(
        layer: TlsLayer,
        server: &Certificate,
        client: Option<&Certificate>,
    ) -> (io::Result<Vec<u8>>, Greeted) {
        says(layer, server, client, &[HELLO, CONNECT].concat(), 2).await
    }

    /// As [`socks`], with other words, and so many bytes to hear before the
    /// request is known.
    async fn says(
        layer: TlsLayer,
        server: &Certificate,
        client: Option<&Certificate>,
        words: &[u8],
        hears: usize,
    ) -> (io::Result<Vec<u8>>, Greeted) {
        let (near, far) = duplex(16 * 1024);
        let mut stack = ServiceBuilder::new()
            .layer(layer)
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .service(Stop);
        let client = async {
            let mut io = connect(near, server, client).await?;
            io.write_all(words).await?;
            io.flush().await?;
            let mut heard = vec![0; hears];
            io.read_exact(&mut heard).await?;
            Ok((heard, io))
        };
        // The client stays for as long as the proxy is at it.
        let (client, served) = tokio::join!(client, stack.call(accepted(far)));
        (client.map(|(heard, _io)| heard), served)
    }

    fn server() -> Certificate {
        Certificate::new("localhost")
    }

    #[tokio::test]
    async fn socks_runs_within_tls() {
        let server = server();

        let (heard, requested) = socks(tls(&server, None), &server, None).await;

        assert_eq!(heard.unwrap(), b"\x05\x00");
        let request = requested.unwrap().request;
        assert_eq!(request.target.to_string(), "127.0.0.1:80");
        assert_eq!(request.session.identity, None);
        assert!(
            request
                .session
                .extensions
                .get::<PeerCertificates>()
                .is_none()
        );
    }

    #[tokio::test]
    async fn socks4_runs_within_tls_too() {
        let server = server();
        let words = b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00";

        let (heard, requested) = says(tls(&server, None), &server, None, words, 0).await;

        heard.unwrap();
        let request = requested.unwrap().request;
        assert_eq!(
            request.session.protocol,
            Some(crate::session::Protocol::Socks4)
        );
        assert_eq!(request.target.to_string(), "127.0.0.1:80");
    }

    #[tokio::test]
    async fn a_certificate_says_who_the_client_is() {
        let (server, joe) = (server(), Certificate::new("joe"));
        let leaf = joe.0.to_vec();
        let layer =
            tls(&server, Some(verifier(&joe, false))).with_identity(move |shown, session| {
                session.extensions.insert("gold");
                (shown.leaf() == leaf)
                    .then(|| Identity::new("joe"))
                    .ok_or("nobody's")
            });

        let (heard, requested) = socks(layer, &server, Some(&joe)).await;

        heard.unwrap();
        let session = requested.unwrap().request.session;
        assert_eq!(session.identity.unwrap().as_str(), "joe");
        assert_eq!(session.extensions.get(), Some(&"gold"));
        let shown = session.extensions.get::<PeerCertificates>().unwrap();
        assert_eq!(shown.iter().collect::<Vec<_>>(), [&joe.0[..]]);
    }

    #[tokio::test]
    async fn a_certificate_of_nobody_is_refused() {
        let (server, joe) = (server(), Certificate::new("joe"));
        let layer = tls(&server, Some(verifier(&joe, true)))
            .with_identity(|_, _| Err("a certificate of nobody"));

        let (heard, requested) = socks(layer, &server, Some(&joe)).await;

        // The connection ends in order, before SOCKS's first answer.
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let error = requested.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
        let why = error.get_ref().map(ToString::to_string);
        assert_eq!(why.as_deref(), Some("a certificate of nobody"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_client_does_not_come_back_by_resumption() {
        let (server, joe) = (server(), Certificate::new("joe"));
        let revoked = Arc::new(AtomicBool::new(false));
        let is_revoked = Arc::clone(&revoked);
        let layer = tls(&server, Some(verifier(&joe, false))).with_identity(move |_, _| {
            match is_revoked.load(Ordering::Relaxed) {
                true => Err("revoked"),
                false => Ok(Identity::new("joe")),
            }
        });
        let remembers = client_config(&server, Some(&joe));
        let comes = async || {
            let (near, far) = duplex(16 * 1024);
            let mut stack = layer.clone().layer(HandshakeLayer::new().layer(Stop));
            let client = async {
                let mut io = connect_with(near, Arc::clone(&remembers)).await?;
                io.write_all(HELLO).await?;
                io.flush().await?;
                let kind = io.get_ref().1.handshake_kind();
                // The ticket for the next time comes with the first that is read.
                let _ = tokio::time::timeout(Duration::from_secs(1), io.read_u8()).await;
                io::Result::Ok(kind)
            };
            let (kind, served) = tokio::join!(client, stack.call(accepted(far)));
            let served: Result<crate::session::Greeted<_>, Error> = served;
            let name = served.map(|greeted| greeted.session.identity.unwrap().to_string());
            (kind.unwrap(), name)
        };

        let (kind, name) = comes().await;
        assert_eq!(kind, Some(HandshakeKind::Full));
        assert_eq!(name.unwrap(), "joe");
        let (kind, name) = comes().await;
        assert_eq!(kind, Some(HandshakeKind::Resumed));
        assert_eq!(name.unwrap(), "joe", "its certificate is remembered");

        revoked.store(true, Ordering::Relaxed);
        let (kind, name) = comes().await;
        assert_eq!(kind, Some(HandshakeKind::Resumed));
        assert_eq!(name.unwrap_err().kind(), ErrorKind::Authentication);
    }

    #[tokio::test]
    async fn the_verifier_says_whether_there_must_be_a_certificate() {
        let (server, joe) = (server(), Certificate::new("joe"));
        let named = |optional| {
            tls(&server, Some(verifier(&joe, optional)))
                .with_identity(|_, _| Ok::<_, Infallible>(Identity::new("joe")))
        };

        let (heard, requested) = socks(named(false), &server, None).await;
        assert!(
            heard
                .unwrap_err()
                .to_string()
                .contains("CertificateRequired")
        );
        assert_eq!(requested.unwrap_err().kind(), ErrorKind::Authentication);

        let (heard, requested) = socks(named(false), &server, Some(&server)).await;
        assert!(heard.is_err());
        assert_eq!(requested.unwrap_err().kind(), ErrorKind::Authentication);

        let (heard, requested) = socks(named(true), &server, None).await;
        heard.unwrap();
        assert_eq!(requested.unwrap().request.session.identity, None);
    }

    #[tokio::test]
    async fn bytes_that_a_layer_read_before_lie_beneath() {
        let server = server();
        let (near, mut far) = duplex(16 * 1024);
        let mut layer = tls(&server, None).layer(Stop);

        let client = connect(near, &server, None);
        let served = async {
            let mut buffered = vec![0; 100];
            far.read_exact(&mut buffered).await.unwrap();
            let mut accepted = accepted(far);
            accepted.buffered = buffered;
            layer.call(accepted).await
        };
        let (client, served) = tokio::join!(client, served);

        client.unwrap();
        assert!(served.unwrap().buffered.is_empty());
    }

    #[tokio::test]
    async fn a_client_without_tls_hears_an_alert() {
        let server = server();
        for plain in [
            HELLO,
            b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
            b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        ] {
            let (mut near, far) = duplex(1024);
            near.write_all(plain).await.unwrap();
            near.shutdown().await.unwrap();

            let result = tls(&server, None).layer(Stop).call(accepted(far)).await;

            assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
            let mut heard = Vec::new();
            near.read_to_end(&mut heard).await.unwrap();
            // A fatal alert, in a record of its own.
            assert_eq!((heard[0], heard[5]), (21, 2), "{heard:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_handshake_ends_at_the_deadline_which_counts_from_accept() {
        let server = server();
        let (_near, far) = duplex(1024);
        let layer = tls(&server, None).with_timeout(Duration::from_secs(5));
        let accepted = accepted(far);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();

        let error = layer.layer(Stop).call(accepted).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn its_time_counts_in_the_first_stage_s_deadline() {
        let server = server();
        let (near, far) = duplex(16 * 1024);
        let began = Instant::now();
        let mut stack = tls(&server, None).layer(HandshakeLayer::new().layer(Stop));
        let client = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            let io = connect(near, &server, None).await.unwrap();
            // And then it says nothing.
            std::future::pending::<()>().await;
            drop(io);
        };

        let result = tokio::select! {
            result = stack.call(accepted(far)) => result,
            () = client => unreachable!(),
        };

        assert_eq!(result.unwrap_err().kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), HandshakeLayer::DEFAULT_TIMEOUT);
    }
}
