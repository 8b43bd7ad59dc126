use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::HttpForward;
use crate::stages::http_connect::{ByProtocolLayer, HttpConnectLayer};

/// Makes what is ready when a connection is to be kept no longer.
pub(super) type End = Arc<dyn Fn() -> Ending + Send + Sync>;
pub(super) type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lets HTTP clients in, and serves their requests. See the
/// [module's page](crate::stages::http_forward).
#[derive(Clone)]
pub struct HttpForwardLayer {
    pub(super) http: HttpConnectLayer,
    pub(super) idle: Duration,
    pub(super) end: Option<End>,
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
            idle: Self::DEFAULT_IDLE_TIMEOUT,
            end: None,
            via: None,
            forwarded_for: false,
        }
    }

    /// How long a connection may be idle between two requests:
    /// [`DEFAULT_IDLE_TIMEOUT`](Self::DEFAULT_IDLE_TIMEOUT) unless set.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = timeout;
        self
    }

    /// Ends connections that are kept, as soon as what `end` makes for each of them is
    /// ready: one that waits for another request at once, one that is served when it has
    /// its answer. A client that has just sent one sends it again.
    ///
    /// For a server that is to end, or whose stack has been replaced: a connection stays
    /// with the stack that it came to.
    ///
    /// ```
    /// use socks_tower::{HttpConnectLayer, HttpForwardLayer};
    /// use tokio::sync::watch;
    ///
    /// let (stack, is_current) = watch::channel(true);
    /// let http = HttpForwardLayer::new(HttpConnectLayer::open()).with_end(move || {
    ///     let mut is_current = is_current.clone();
    ///     async move {
    ///         // Also if the sender is gone.
    ///         let _ = is_current.wait_for(|is_current| !is_current).await;
    ///     }
    /// });
    /// # let _ = (http, stack);
    /// ```
    #[must_use]
    pub fn with_end<F>(mut self, end: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.end = Some(Arc::new(move || Box::pin(end())));
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
