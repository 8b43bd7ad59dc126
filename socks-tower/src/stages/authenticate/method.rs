use std::{fmt, sync::Arc};

use async_trait::async_trait;
use socks_core::{Credentials, v5::Method};

use super::Admitted;
use crate::session::{BoxError, HasSession, Negotiation, Session};

/// One of SOCKS5's authentication methods (RFC 1928 section 3).
///
/// Its negotiation runs on the client's own stream, once the method has been
/// selected and before the request. A method of your own takes a code of the
/// private range, 0x80 to 0xfe. [`async_trait`](crate::async_trait) is here, so that
/// you need not depend on it.
///
/// ```
/// use socks_tower::{
///     Admitted, AuthMethod, AuthenticateLayer, BoxError, Identity, Method, Negotiation, async_trait,
/// };
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// /// The client sends one byte; 42 is right.
/// struct Magic;
///
/// #[async_trait]
/// impl AuthMethod for Magic {
///     fn code(&self) -> Method {
///         Method(0x80)
///     }
///
///     async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
///         let right = client.read_u8().await? == 42;
///         client.write_all(&[u8::from(!right)]).await?;
///         if right { Ok(Identity::new("magician").into()) } else { Err("wrong byte".into()) }
///     }
/// }
///
/// let layer = AuthenticateLayer::new(Magic);
/// ```
///
/// A claim that comes as a message is read by
/// [`Negotiation::read_message`](crate::Negotiation::read_message), and is best judged by a
/// service of an [`Attempt`], around which other middleware may stand: the page of
/// `middleware::lockout` (feature `lockout`) has such a method, whole.
#[async_trait]
pub trait AuthMethod: Send + Sync + 'static {
    /// The method's code.
    fn code(&self) -> Method;

    /// Whether this client may use it ("none, from loopback").
    fn offered_to(&self, session: &Session) -> bool {
        let _ = session;
        true
    }

    /// This method, for those clients alone for which `allows` says so: by their
    /// network, or by what a layer in front has found out.
    ///
    /// ```
    /// use socks_tower::{AuthMethod, AuthenticateLayer, IpNet, NoAuth, UsernamePassword, Users};
    ///
    /// let office: IpNet = "192.0.2.0/24".parse()?;
    /// let inside = NoAuth.offered_if(move |session| {
    ///     session.client_addr.is_some_and(|addr| office.contains(&addr.ip()))
    /// });
    /// let users = Users::new().with("joe", "secret")?;
    /// // SOCKS4 clients are let in from the office, too.
    /// let layer = AuthenticateLayer::new(inside).or(UsernamePassword::new(users));
    /// # Ok::<(), socks_tower::BoxError>(())
    /// ```
    fn offered_if<F>(self, allows: F) -> OfferedIf<Self, F>
    where
        Self: Sized,
        F: Fn(&Session) -> bool + Send + Sync + 'static,
    {
        OfferedIf {
            method: self,
            allows,
        }
    }

    /// Negotiates with the client.
    ///
    /// What the client hears, this method writes itself, the refusal too; the
    /// connection is closed once it fails.
    ///
    /// # Errors
    ///
    /// If the client is not let in, whatever the reason.
    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError>;
}

#[async_trait]
impl<M: AuthMethod + ?Sized> AuthMethod for Arc<M> {
    fn code(&self) -> Method {
        M::code(self)
    }

    fn offered_to(&self, session: &Session) -> bool {
        M::offered_to(self, session)
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        M::authenticate(self, client).await
    }
}

/// A method for some clients. [`AuthMethod::offered_if`] makes it.
#[derive(Clone)]
pub struct OfferedIf<M, F> {
    method: M,
    allows: F,
}

impl<M: fmt::Debug, F> fmt::Debug for OfferedIf<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfferedIf").field(&self.method).finish()
    }
}

#[async_trait]
impl<M, F> AuthMethod for OfferedIf<M, F>
where
    M: AuthMethod,
    F: Fn(&Session) -> bool + Send + Sync + 'static,
{
    fn code(&self) -> Method {
        self.method.code()
    }

    fn offered_to(&self, session: &Session) -> bool {
        (self.allows)(session) && self.method.offered_to(session)
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        self.method.authenticate(client).await
    }
}

/// What a verifier judges: a client's claim, `C`, and what else is known of it.
///
/// [`Credentials`] for username and password, [`UserId`](crate::v4::UserId)
/// for SOCKS4.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt<C = Credentials> {
    /// What is known of the client: where it comes from.
    pub session: Session,
    /// Its claim.
    pub credentials: C,
}

impl<C> Attempt<C> {
    /// The claim of a client of `session`.
    pub fn new(session: Session, credentials: C) -> Self {
        Self {
            session,
            credentials,
        }
    }
}

impl<C> HasSession for Attempt<C> {
    fn session(&self) -> &Session {
        &self.session
    }

    fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// No authentication: everybody is let in, and nobody is asked who it is. Whom a
/// layer in front has named, by its certificate, keeps that name.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAuth;

#[async_trait]
impl AuthMethod for NoAuth {
    fn code(&self) -> Method {
        Method::NONE
    }

    async fn authenticate(&self, _: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        Ok(Admitted::anonymous())
    }
}
