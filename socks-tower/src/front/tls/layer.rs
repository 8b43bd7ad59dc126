use std::{fmt, sync::Arc, time::Duration};

use tokio_rustls::rustls::ServerConfig;
use tower_layer::Layer;

use super::{PeerCertificates, Tls};
use crate::session::{BoxError, DEFAULT_TIMEOUT, Identity, Session};

type Namer =
    Arc<dyn Fn(&PeerCertificates, &mut Session) -> Result<Identity, BoxError> + Send + Sync>;

/// Speaks TLS with the client. See the [module's page](crate::front::tls).
#[derive(Clone)]
pub struct TlsLayer {
    pub(super) tls: Arc<ServerConfig>,
    pub(super) timeout: Duration,
    pub(super) namer: Option<Namer>,
}

impl TlsLayer {
    /// Speaks TLS as `config` says, with a deadline of 10 seconds.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            tls: config,
            timeout: DEFAULT_TIMEOUT,
            namer: None,
        }
    }

    /// Bounds the time from accept to the end of TLS's handshake.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says who a client is by its certificates, and may leave what else they say
    /// in the session. An error refuses the client, and is why.
    ///
    /// It is asked at each connection, also where TLS resumes a session and
    /// rustls's verifier is not: what can be revoked is to be refused here. It is
    /// not asked about clients that show no certificate. It runs in the session's
    /// task, so let it wait for nothing: what has to wait for a database is a
    /// layer of its own behind this one.
    #[must_use]
    pub fn with_identity<E: Into<BoxError>>(
        mut self,
        name: impl Fn(&PeerCertificates, &mut Session) -> Result<Identity, E> + Send + Sync + 'static,
    ) -> Self {
        self.namer = Some(Arc::new(move |shown, session| {
            name(shown, session).map_err(Into::into)
        }));
        self
    }
}

impl fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLayer")
            .field("timeout", &self.timeout)
            .field("names", &self.namer.is_some())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for TlsLayer {
    type Service = Tls<S>;

    fn layer(&self, inner: S) -> Tls<S> {
        Tls {
            config: self.clone(),
            inner,
        }
    }
}
