use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tower_layer::Layer;

use super::HttpForward;
use crate::{
    session::{BoxWork, Judge, Pinned, Request},
    stages::http_connect::{ByProtocolLayer, HttpConnectLayer},
};

/// What is asked before a tunnel is used again.
pub(super) type Asking = Arc<dyn Fn(Request) -> BoxWork<Request<Pinned>> + Send + Sync>;

/// Lets HTTP clients in, and serves their requests. See the
/// [module's page](crate::stages::http_forward).
#[derive(Clone)]
pub struct HttpForwardLayer {
    pub(super) http: HttpConnectLayer,
    pub(super) judge: Option<Asking>,
    pub(super) idle: Duration,
    pub(super) via: Option<Arc<str>>,
    pub(super) forwarded_for: bool,
}

impl HttpForwardLayer {
    /// How long a connection may be idle between two requests, unless set: 65 seconds.
    /// A client that gives up after a minute finds it open.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(65);

    /// Serves plain requests on the connections of `http`, which says who is let in,
    /// how long a request may take to come, and what a client hears if it is refused.
    #[must_use]
    pub fn new(http: HttpConnectLayer) -> Self {
        Self {
            http,
            judge: None,
            idle: Self::DEFAULT_IDLE_TIMEOUT,
            via: None,
            forwarded_for: false,
        }
    }

    /// Keeps the last connection to an origin for the client's next request, if that
    /// is for the same target with the same credentials, and if `judge`, asked anew,
    /// still permits the address that it leads to.
    ///
    /// The judge is the connector's stack with [`Permit`](crate::Permit) in the place
    /// of the connector. Without one, each request makes a connection.
    #[must_use]
    pub fn with_judge(mut self, judge: impl Judge) -> Self {
        // Locked to be cloned: no work need be `Sync`.
        let judge = Mutex::new(judge);
        self.judge = Some(Arc::new(move |request| {
            let judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
            Box::pin(judge.clone().run(request))
        }));
        self
    }

    /// How long a connection may be idle between two requests:
    /// [`DEFAULT_IDLE_TIMEOUT`](Self::DEFAULT_IDLE_TIMEOUT) unless set.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = timeout;
        self
    }

    /// Says by `Via` (RFC 9110 section 7.6.3) that messages came by here, both ways,
    /// under this name: that of the host, or any other. Unless set, nothing says so.
    #[must_use]
    pub fn with_via(mut self, name: impl Into<Arc<str>>) -> Self {
        self.via = Some(name.into());
        self
    }

    /// Tells origins by `X-Forwarded-For` which address a request comes from. Unless
    /// set, they are told nothing; what a client says there itself is passed on.
    #[must_use]
    pub fn with_forwarded_for(mut self) -> Self {
        self.forwarded_for = true;
        self
    }

    /// Clients that do not speak HTTP go to `front`, as by [`HttpConnectLayer::or`].
    #[must_use]
    pub fn or<F>(self, front: F) -> ByProtocolLayer<F, Self> {
        ByProtocolLayer {
            timeout: self.http.timeout,
            http: self,
            front,
        }
    }
}

impl fmt::Debug for HttpForwardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpForwardLayer")
            .field("http", &self.http)
            .field("keeps", &self.judge.is_some())
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HttpForwardLayer {
    type Service = HttpForward<S>;

    fn layer(&self, inner: S) -> HttpForward<S> {
        HttpForward {
            config: self.clone(),
            inner,
        }
    }
}
