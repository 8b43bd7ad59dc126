use std::{fmt, sync::Arc, time::Duration};

use tokio_rustls::rustls::ServerConfig;
use tower_layer::Layer;

use super::{PeerCertificates, Tls};
use crate::session::{DEFAULT_TIMEOUT, Identity};

type Namer = Arc<dyn Fn(&PeerCertificates) -> Option<Identity> + Send + Sync>;

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

    /// Says who a client is by its certificates. `None` refuses it.
    ///
    /// It is not asked about clients that show none.
    #[must_use]
    pub fn with_identity(
        mut self,
        name: impl Fn(&PeerCertificates) -> Option<Identity> + Send + Sync + 'static,
    ) -> Self {
        self.namer = Some(Arc::new(name));
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
