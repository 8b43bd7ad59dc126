use std::{fmt, mem, sync::Arc};

use http::Extensions;

use crate::session::{
    AuthenticatedBy, BoxStream, ClientStream, DatagramWrapper, Identity, Rewind, Session, Stream,
    Wrap, WrapsDatagrams, wrap_by,
};

/// A client that is let in: who it is, what else is known of it, and how its
/// stream goes on.
///
/// ```
/// use socks_tower::{Admitted, Attempt, AuthenticateLayer, Identity};
/// use tower::service_fn;
///
/// /// What stages, works and middleware further in read in
/// /// `session.extensions`.
/// #[derive(Clone)]
/// struct Tenant(&'static str);
///
/// let verifier = service_fn(|attempt: Attempt| async move {
///     match attempt.credentials.username.to_str() {
///         Some(name) if name.ends_with("@acme.example") => {
///             Ok(Admitted::from(Identity::new(name)).with_extension(Tenant("acme")))
///         }
///         _ => Err("no such user"),
///     }
/// });
/// let layer = AuthenticateLayer::password(verifier);
/// ```
pub struct Admitted {
    identity: Option<Identity>,
    extensions: Extensions,
    wrap: Option<Wrap>,
}

impl Admitted {
    /// Lets in a client that nobody asked who it is. One that a layer in front
    /// has named, by its certificate, keeps that name.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            identity: None,
            extensions: Extensions::new(),
            wrap: None,
        }
    }

    /// Leaves `value` in the session's
    /// [`extensions`](crate::Session::extensions), in the place of another of
    /// its type.
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// All that follows runs on the stream that `wrap` makes of the client's:
    /// SOCKS5's request first (RFC 1928 section 3: a method that encapsulates,
    /// encapsulates everything); of SOCKS4 and HTTP, whose request has come by
    /// then, the reply first. Bytes that were read too far come first on the
    /// stream beneath.
    #[must_use]
    pub fn with_wrap<S: Stream>(
        mut self,
        wrap: impl FnOnce(BoxStream) -> S + Send + 'static,
    ) -> Self {
        self.wrap = Some(wrap_by(wrap));
        self
    }

    /// The datagrams of an association, to and from the client, are wrapped by
    /// `wrapper`, whose page has a whole method of this kind. Without, they go as they
    /// are, even if the stream is wrapped.
    #[must_use]
    pub fn with_datagrams(self, wrapper: impl DatagramWrapper) -> Self {
        self.with_extension(WrapsDatagrams(Arc::new(wrapper)))
    }

    /// Who it is; none if nobody asked.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What else is known of it: for tests of a verifier, and for middleware around
    /// one.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Lets in one more client like an earlier one.
    #[cfg(feature = "auth-cache")]
    pub(super) fn again(identity: Option<Identity>, extensions: Extensions) -> Self {
        Self {
            identity,
            extensions,
            wrap: None,
        }
    }

    /// Whether its stream, or its datagrams, go on as others.
    #[cfg(feature = "auth-cache")]
    pub(super) fn wraps(&self) -> bool {
        self.wrap.is_some() || self.extensions.get::<WrapsDatagrams>().is_some()
    }

    /// Leaves in `session` what is known now.
    pub(in crate::stages) fn admit(
        self,
        by: AuthenticatedBy,
        session: &mut Session,
    ) -> Option<Wrap> {
        session.admit(self.identity, by);
        session.extensions.extend(self.extensions);
        self.wrap
    }

    /// Leaves in `session` what is known now, and gives the client's stream, of
    /// which `buffered` has been read, to go on with.
    pub(in crate::stages) fn enter<Io: Stream>(
        self,
        by: AuthenticatedBy,
        session: &mut Session,
        buffered: &mut Vec<u8>,
        io: Io,
    ) -> ClientStream<Io> {
        match self.admit(by, session) {
            None => ClientStream::plain(io),
            Some(wrap) => {
                let beneath = Rewind::new(mem::take(buffered), io);
                ClientStream::wrapped(wrap(BoxStream::new(beneath)))
            }
        }
    }
}

impl From<Identity> for Admitted {
    fn from(identity: Identity) -> Self {
        Self {
            identity: Some(identity),
            ..Self::anonymous()
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("identity", &self.identity)
            .field("extensions", &self.extensions.len())
            .field("wraps", &self.wrap.is_some())
            .finish()
    }
}

/// What a verifier answers: an [`Identity`], or, if it knows more than a name,
/// an [`Admitted`].
#[diagnostic::on_unimplemented(
    message = "a verifier answers `Identity` or `Admitted`, and this one `{Self}`",
    label = "answers `{Self}`",
    note = "`Identity::new(name)` makes an identity of a string"
)]
pub trait IntoAdmitted: Send {
    /// The client that is let in.
    fn into_admitted(self) -> Admitted;
}

impl IntoAdmitted for Identity {
    fn into_admitted(self) -> Admitted {
        self.into()
    }
}

impl IntoAdmitted for Admitted {
    fn into_admitted(self) -> Admitted {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use socks_core::{Credentials, v4::UserId, v5::Method};
    use tokio::io::{AsyncReadExt, BufStream};
    use tokio_test::io::Mock;
    use tower::service_fn;

    use super::*;
    use crate::{
        session::Requested,
        stages::authenticate::{Attempt, AuthenticateLayer},
        test_support::{CONNECT, negotiate, script},
    };

    #[derive(Clone, Debug, PartialEq)]
    struct Tenant(&'static str);

    async fn knows_more<C>(_: Attempt<C>) -> Result<Admitted, Infallible> {
        let joe = Admitted::from(Identity::new("joe"));
        Ok(joe.with_extension(Tenant("acme")).with_wrap(BufStream::new))
    }

    fn layer() -> AuthenticateLayer {
        AuthenticateLayer::password(service_fn(knows_more::<Credentials>))
            .with_user_ids(service_fn(knows_more::<UserId>))
    }

    fn is_joe_of_acme(session: &Session, by: AuthenticatedBy) {
        let name = session.identity.as_ref().map(Identity::as_str);
        assert_eq!((name, session.method), (Some("joe"), Some(by)));
        assert_eq!(session.extensions.get(), Some(&Tenant("acme")));
    }

    async fn is_wrapped(mut requested: Requested<ClientStream<Mock>>, early: &[u8]) {
        assert!(requested.client.io().get_ref().is_none());
        let mut read = mem::take(&mut requested.client.early);
        requested.client.io.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, early);
    }

    #[tokio::test]
    async fn a_verifier_may_pass_on_more_than_a_name_in_socks5() {
        let mut sent = b"\x05\x01\x02\x01\x01j\x01x".to_vec();
        sent.extend(CONNECT);
        sent.extend(b"early");
        let io = script()
            .read(&sent)
            .write(b"\x05\x02")
            .write(b"\x01\x00")
            .build();

        let requested = negotiate(layer(), io).await.unwrap();

        is_joe_of_acme(&requested.request.session, Method::USERNAME_PASSWORD.into());
        is_wrapped(requested, b"early").await;
    }

    #[tokio::test]
    async fn a_verifier_may_pass_on_more_than_a_name_in_socks4() {
        let io = script()
            .read(b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00early")
            .build();

        let requested = negotiate(layer(), io).await.unwrap();

        is_joe_of_acme(&requested.request.session, AuthenticatedBy::UserId);
        is_wrapped(requested, b"early").await;
    }

    #[cfg(feature = "http-connect")]
    #[tokio::test]
    async fn a_verifier_may_pass_on_more_than_a_name_in_http() {
        use crate::{
            stages::http_connect::HttpConnectLayer,
            test_support::{Stop, accepted},
        };
        use tower::{Layer, ServiceExt};

        let io = script()
            .read(b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic ajp4\r\n\r\nearly")
            .build();
        let http = HttpConnectLayer::password(service_fn(knows_more::<Credentials>));

        let requested = http.layer(Stop).oneshot(accepted(io)).await;

        let requested: Requested<_> = requested.unwrap();
        is_joe_of_acme(&requested.request.session, Method::USERNAME_PASSWORD.into());
        is_wrapped(requested, b"early").await;
    }

    #[tokio::test]
    async fn the_last_value_of_a_type_counts() {
        let mut session = Session::new();
        session.extensions.insert(Tenant("in front"));
        let admitted = Admitted::anonymous()
            .with_extension(Tenant("first"))
            .with_extension(Tenant("last"))
            .with_extension(7_u8);
        assert_eq!(admitted.identity(), None);
        assert_eq!(admitted.extensions().get(), Some(&Tenant("last")));

        let io = script().build();
        let _io = admitted.enter(Method::NONE.into(), &mut session, &mut Vec::new(), io);

        assert_eq!(session.extensions.get(), Some(&Tenant("last")));
        assert_eq!(session.extensions.get(), Some(&7_u8));
    }
}
