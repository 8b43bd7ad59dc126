use std::time::Duration;

use socks_core::{server::Versions, v5::ReplyCode};
use tower_layer::Layer;

use super::Handshake;
use crate::session::{DEFAULT_TIMEOUT, Error, ReplyHook};

/// Reads the client's greeting. See the [module's page](crate::stages::handshake).
#[derive(Clone, Debug)]
pub struct HandshakeLayer {
    pub(super) versions: Versions,
    pub(super) timeout: Duration,
    pub(super) hook: Option<ReplyHook>,
}

impl HandshakeLayer {
    /// The deadline unless set, 10 seconds: long enough for a slow link and a
    /// slow verifier, short enough that clients who never finish do not pile up.
    pub const DEFAULT_TIMEOUT: Duration = DEFAULT_TIMEOUT;

    /// Serves all versions, with a deadline of 10 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            versions: Versions::ALL,
            timeout: Self::DEFAULT_TIMEOUT,
            hook: None,
        }
    }

    /// Serves `versions` alone.
    #[must_use]
    pub fn with_versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Bounds the time from accept to the request.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has the last word on what a client hears when its request fails:
    /// `None` leaves it at [`Error::reply`].
    ///
    /// It is told of whatever fails behind authentication, in a stage, a work or a
    /// middleware around one; the causes say which.
    ///
    /// ```
    /// use socks_tower::{ErrorKind, HandshakeLayer, ReplyCode};
    ///
    /// let handshake = HandshakeLayer::new().with_reply(|error| match error.kind() {
    ///     ErrorKind::Limited => Some(ReplyCode::CONNECTION_NOT_ALLOWED), // 02, not 01
    ///     ErrorKind::Denied => Some(ReplyCode::HOST_UNREACHABLE), // as if it were not there
    ///     _ => None,
    /// });
    /// ```
    #[must_use]
    pub fn with_reply(
        mut self,
        reply: impl Fn(&Error) -> Option<ReplyCode> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(ReplyHook::new(reply));
        self
    }
}

impl Default for HandshakeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for HandshakeLayer {
    type Service = Handshake<S>;

    fn layer(&self, inner: S) -> Handshake<S> {
        Handshake {
            config: self.clone(),
            inner,
        }
    }
}
