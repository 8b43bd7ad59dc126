//! What is known of a client, whichever stage it has come to.

use std::{
    borrow::Borrow,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Extensions;
use socks_core::v4::UserId;

#[cfg(feature = "http-forward")]
use crate::session::watch::Watching;
use crate::session::{AuthenticatedBy, Protocol, policy::Policy, trace, watch::Watch};

/// Who a client has been shown to be.
///
/// Its text comes from a verifier, often by way of the client: control
/// characters print escaped, so that a name cannot forge a line of a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Arc<str>);

impl Identity {
    /// Names an identity.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Identity {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Identity {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl AsRef<str> for Identity {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Identity {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}

/// What a client wrote behind its user name, by which it chooses among upstream
/// proxies: in a session's extensions, if
/// [`SplitName`](crate::stages::authenticate::SplitName) is around the verifier.
///
/// Nobody has checked it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameSuffix(Arc<str>);

impl NameSuffix {
    /// What stands behind the name.
    pub fn new(suffix: impl Into<Arc<str>>) -> Self {
        Self(suffix.into())
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a client. It has no socket in it, and is cheap to clone.
///
/// Layers read it, and leave notes of their own in `extensions`: values put
/// there by one layer are seen by those further in. They are cloned with it, for
/// each work that is asked: put what is large in an `Arc`.
///
/// ```
/// use socks_tower::{Refusal, Request};
/// use tower::service_fn;
///
/// /// What a verifier left there, by `Admitted::with_extension`.
/// #[derive(Clone)]
/// struct Tenant {
///     may_send_mail: bool,
/// }
///
/// let authorizer = service_fn(|request: Request| async move {
///     let tenant = request.session.extensions.get::<Tenant>();
///     match tenant.is_some_and(|tenant| tenant.may_send_mail) || request.target.port != 25 {
///         true => Ok(request),
///         false => Err(Refusal::not_allowed("no mail from here")),
///     }
/// });
/// # fn check(_: impl socks_tower::Work<Request>) {}
/// # check(authorizer);
/// ```
#[cfg_attr(
    feature = "tls",
    doc = r#"
Ours are `front::tls::PeerCertificates`, where a client showed TLS any:

```
use socks_tower::{Session, front::tls::PeerCertificates};

fn certificate(session: &Session) -> Option<&[u8]> {
    let shown = session.extensions.get::<PeerCertificates>()?;
    Some(shown.leaf())
}
```
"#
)]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Session {
    id: SessionId,
    /// Where the client is; v4-mapped IPv6 is given as IPv4. None where
    /// addresses mean nothing (a Unix socket, memory).
    pub client_addr: Option<SocketAddr>,
    /// Where it reached us.
    pub local_addr: Option<SocketAddr>,
    /// What it speaks; none before the first stage.
    pub protocol: Option<Protocol>,
    /// Who it is; none if nobody asked.
    pub identity: Option<Identity>,
    /// By what it has shown that, or that it need not; none before
    /// authentication.
    pub method: Option<AuthenticatedBy>,
    /// Who a SOCKS4 client says it is. Nothing backs it: rules go by
    /// `identity`.
    pub user_id: Option<UserId>,
    /// What the relay does to the session's bytes besides carrying them.
    pub policy: Policy,
    /// Whatever else layers and verifiers want to hand inwards: of each type a
    /// value, in [`Extensions`] of the crate `http`. A layer
    /// puts it there by [`HasSession::session_mut`], a verifier or a method by
    /// [`Admitted::with_extension`](crate::Admitted::with_extension), and
    /// [`Match::extension`](crate::Match::extension) asks about it.
    pub extensions: Extensions,
    /// Whoever wants to know what becomes of it.
    pub(crate) watch: Watch,
}

/// By number, and by all that is known but what knows no equality: `policy` and
/// `extensions`.
impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        let known = |it: &Self| (it.id, it.client_addr, it.local_addr, it.protocol, it.method);
        known(self) == known(other)
            && self.identity == other.identity
            && self.user_id == other.user_id
    }
}

/// The number of a session: no other of this process has or had it, and it is
/// the same in logs, records and the list of live sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    /// The id with this number, which need not be of a session.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, from 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session of which nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: SessionId::next(),
            client_addr: None,
            local_addr: None,
            protocol: None,
            identity: None,
            method: None,
            user_id: None,
            policy: Policy::default(),
            extensions: Extensions::default(),
            watch: Watch::default(),
        }
    }

    /// Its number; clones have the same.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What the client speaks.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// By what the client has shown who it is.
    #[must_use]
    pub fn with_method(mut self, method: impl Into<AuthenticatedBy>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Says what the client speaks, to the log and to whoever observes: for a first
    /// stage to do as soon as it is called, which then hands on the session that it
    /// came with.
    ///
    /// ```
    /// use socks_tower::{Accepted, Protocol};
    ///
    /// fn own_first_stage<Io>(mut accepted: Accepted<Io>) {
    ///     accepted.session.speaks(Protocol::other("transparent"));
    /// }
    /// ```
    pub fn speaks(&mut self, protocol: Protocol) {
        self.protocol = Some(protocol);
        self.watch.learn(self);
        // A PROXY header that says where the client is has been read by now.
        trace::speaks(protocol, self);
    }

    /// Another session of the same client, under a number of its own, and those who
    /// watch it: whoever watches this one.
    #[cfg(feature = "http-forward")]
    pub(crate) fn again(&self) -> (Self, Vec<Watching>) {
        let mut again = Self {
            id: SessionId::next(),
            ..self.clone()
        };
        let watching = Watching::begin_again(&mut again);
        (again, watching)
    }

    /// The copy that a work is handed.
    pub(crate) fn for_work(&self) -> Self {
        let mut copy = self.clone();
        copy.policy.is_of_work();
        copy
    }

    /// The client has been let in. A layer in front may know better who it is: a
    /// certificate told it.
    pub(crate) fn admit(&mut self, identity: Option<Identity>, by: AuthenticatedBy) {
        if identity.is_some() || self.identity.is_none() {
            self.identity = identity;
            self.method = Some(by);
        }
    }

    pub(crate) fn is_socks4(&self) -> bool {
        self.protocol.is_some_and(Protocol::is_socks4)
    }

    /// Where the client is, with a v4-mapped address undone.
    #[must_use]
    pub fn with_client_addr(mut self, addr: SocketAddr) -> Self {
        self.client_addr = Some(canonical(addr));
        self
    }

    /// Where the client reached us, with a v4-mapped address undone. A link-local
    /// one keeps its scope, for nothing can listen there without.
    #[must_use]
    pub fn with_local_addr(mut self, mut addr: SocketAddr) -> Self {
        addr.set_ip(addr.ip().to_canonical());
        self.local_addr = Some(addr);
        self
    }

    /// Who the client is.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// Like is compared with like: `::ffff:192.0.2.1` is 192.0.2.1.
#[inline]
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Lets one middleware stand before any stage and around any work: what travels
/// through a stack knows its session.
///
/// ```
/// use std::{future::Future, net::IpAddr, pin::Pin, task::{Context, Poll}};
/// use socks_tower::{BoxError, HasSession, Socks};
/// use tower::{Service, ServiceBuilder, layer::layer_fn};
///
/// /// Lets one client on, and nobody else.
/// #[derive(Clone)]
/// struct Only<S> {
///     ip: IpAddr,
///     inner: S,
/// }
///
/// impl<T, S> Service<T> for Only<S>
/// where
///     T: HasSession,
///     S: Service<T, Error: Into<BoxError>, Future: Send + 'static>,
/// {
///     type Response = S::Response;
///     type Error = BoxError;
///     type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;
///
///     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
///         self.inner.poll_ready(cx).map_err(Into::into)
///     }
///
///     fn call(&mut self, passing: T) -> Self::Future {
///         let client = passing.session().client_addr;
///         if client.is_none_or(|addr| addr.ip() != self.ip) {
///             return Box::pin(async { Err("not from here".into()) });
///         }
///         let served = self.inner.call(passing);
///         Box::pin(async move { served.await.map_err(Into::into) })
///     }
/// }
///
/// let ip = [192, 0, 2, 1].into();
/// let proxy = ServiceBuilder::new()
///     .layer(layer_fn(|inner| Only { ip, inner }))
///     .service(Socks::new());
/// # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
/// # check(proxy);
/// ```
pub trait HasSession {
    /// The session.
    fn session(&self) -> &Session;

    /// The session, to leave notes in.
    fn session_mut(&mut self) -> &mut Session;
}
