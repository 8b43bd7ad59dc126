use std::{fmt, sync::Arc, time::Duration};

use http::Response;
use socks_core::{Credentials, v5::ReplyCode};
use tower_layer::Layer;

use super::{ByProtocolLayer, HttpConnect, head::Room, words::Respond};
use crate::{
    session::{Error, ReplyHook, Session, Work},
    stages::{
        authenticate::{Attempt, IntoAdmitted, Verifier, erased},
        handshake::HandshakeLayer,
    },
};

/// Lets HTTP clients in and reads what they want. See the
/// [module's page](crate::stages::http_connect).
#[derive(Clone)]
pub struct HttpConnectLayer {
    pub(super) verifier: Option<Verifier<Credentials>>,
    pub(super) open_to: Option<Arc<dyn Fn(&Session) -> bool + Send + Sync>>,
    pub(in crate::stages) timeout: Duration,
    pub(in crate::stages) hook: Option<ReplyHook>,
    pub(in crate::stages) respond: Option<Respond>,
    pub(in crate::stages) room: Room,
}

impl HttpConnectLayer {
    /// Lets everybody in.
    #[must_use]
    pub fn open() -> Self {
        Self {
            verifier: None,
            open_to: None,
            timeout: HandshakeLayer::DEFAULT_TIMEOUT,
            hook: None,
            respond: None,
            room: Room::default(),
        }
    }

    /// Lets in whom `verifier` answers for: the same verifier as
    /// [`AuthenticateLayer::password`](crate::AuthenticateLayer::password)
    /// takes.
    ///
    /// Clients authenticate by the scheme Basic (RFC 7617). Username and
    /// password are at most 255 bytes each, as in SOCKS; longer ones are
    /// refused without asking. Both cross the network in clear: on one that
    /// others can listen to, put TLS in front.
    pub fn password<V>(verifier: V) -> Self
    where
        V: Work<Attempt<Credentials>, Response: IntoAdmitted>,
    {
        Self {
            verifier: Some(erased(verifier)),
            ..Self::open()
        }
    }

    /// Lets in those clients without a password of whom `open_to` says so, if they give
    /// none: by their network, say, as [`AuthMethod::offered_if`](crate::AuthMethod::offered_if)
    /// does for SOCKS5. One that they give is checked.
    ///
    /// ```
    /// use socks_tower::{AuthMethod, AuthenticateLayer, HttpConnectLayer, NoAuth, Session, Users, UsernamePassword};
    ///
    /// let here = |session: &Session| session.client_addr.is_some_and(|addr| addr.ip().is_loopback());
    /// let users = Users::new().with("joe", "secret")?;
    /// let http = HttpConnectLayer::password(users.clone()).with_open_to(here);
    /// let socks5 = AuthenticateLayer::new(UsernamePassword::new(users)).or(NoAuth.offered_if(here));
    /// # let _ = (http, socks5);
    /// # Ok::<(), socks_tower::UsersError>(())
    /// ```
    #[must_use]
    pub fn with_open_to(
        mut self,
        open_to: impl Fn(&Session) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.open_to = Some(Arc::new(open_to));
        self
    }

    /// Clients that do not speak HTTP go to `front`, a layer that takes an
    /// [`Accepted`](crate::Accepted) to a [`Requested`](crate::Requested):
    /// `(HandshakeLayer, AuthenticateLayer)`.
    ///
    /// The first byte, which decides, has until this layer's deadline.
    #[must_use]
    pub fn or<F>(self, front: F) -> ByProtocolLayer<F> {
        ByProtocolLayer {
            timeout: self.timeout,
            http: self,
            front,
        }
    }

    /// Bounds the time from accept to the request, the verifier included: 10
    /// seconds unless set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has the last word on the code that a failed request's status is made
    /// of: `None` leaves it at [`Error::reply`].
    #[must_use]
    pub fn with_reply(
        mut self,
        reply: impl Fn(&Error) -> Option<ReplyCode> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(ReplyHook::new(reply));
        self
    }

    /// Answers a failed request in words of your own: `None` leaves them at ours,
    /// as does a status that is no 4xx or 5xx.
    ///
    /// It is told of all that fails behind this stage, in a layer or a work, and
    /// of the session as this stage leaves it; what this stage itself refuses, it
    /// says itself. Where the answer ends is not the response's to say:
    /// `Content-Length` and `Connection` are ours. The body is plain text unless
    /// its `Content-Type` says otherwise, and `Retry-After` is added where the
    /// error [has one](Error::retry_after).
    ///
    /// ```
    /// use socks_tower::{ErrorKind, HttpConnectLayer, stages::http_connect::http::{Response, header}};
    ///
    /// // Whom the rules deny comes in the wrong hours: they may come again.
    /// let layer = HttpConnectLayer::open().with_response(|error, session| {
    ///     if error.kind() != ErrorKind::Denied {
    ///         return None;
    ///     }
    ///     let who = session.identity.as_ref().map_or("you", |identity| identity.as_str());
    ///     Response::builder()
    ///         .status(503)
    ///         .header(header::RETRY_AFTER, 3600)
    ///         .body(format!("The proxy is closed for {who}.\n"))
    ///         .ok()
    /// });
    /// ```
    #[must_use]
    pub fn with_response(
        mut self,
        respond: impl Fn(&Error, &Session) -> Option<Response<String>> + Send + Sync + 'static,
    ) -> Self {
        self.respond = Some(Arc::new(respond));
        self
    }
}

impl fmt::Debug for HttpConnectLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnectLayer")
            .field("verifies", &self.verifier.is_some())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HttpConnectLayer {
    type Service = HttpConnect<S>;

    fn layer(&self, inner: S) -> HttpConnect<S> {
        HttpConnect {
            config: self.clone(),
            inner,
        }
    }
}
