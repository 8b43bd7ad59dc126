#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use socks_core::Host;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;
use tower_service::Service;

#[cfg(feature = "http-connect")]
use super::http::Authorization;
#[cfg(feature = "tls")]
use super::tls::TlsConnector;
use super::{
    ProxyUrl,
    connecting::BoxConnect,
    hop::{Hop, Protocol, Socks5},
    url::{Login, Scheme},
};
use crate::{
    session::{
        BoxStream, Connector, Error, Outbound, Pinned, Request, Stream, always_ready, opaque_future,
    },
    works::resolve::{SystemResolver, pin},
};

/// Connects to targets through the proxy that a [`ProxyUrl`] names, whichever it
/// speaks; `C` reaches it.
///
/// If the URL says that names are looked up here, it looks them up by a
/// [`SystemResolver`]. So that rules see the addresses, put
/// [`ResolveLayer`](crate::ResolveLayer) and the rules around it: it takes what they
/// hand on, whatever the URL says.
///
/// Plain TCP stays plain TCP: see [`BoxStream`].
#[derive(Clone, Debug)]
pub struct ProxyConnector<C> {
    pub(super) hop: Hop<C>,
    resolver: Option<SystemResolver>,
    #[cfg(feature = "tls")]
    tls: Tls,
}

/// Whether the way to the proxy is TLS.
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
enum Tls {
    No,
    /// Nobody has said how yet.
    Unset,
    By(Arc<ClientConfig>),
}

#[cfg(feature = "tls")]
#[derive(Debug, thiserror::Error)]
#[error("it wants TLS, of which there is no configuration")]
struct NoTls;

impl<C> ProxyConnector<C> {
    /// Through the proxy at `url`.
    #[must_use]
    pub fn new(url: ProxyUrl, inner: C) -> Self {
        let resolver = url.resolves_locally().then(SystemResolver::new);
        #[cfg(feature = "tls")]
        let tls = if url.is_over_tls() {
            Tls::Unset
        } else {
            Tls::No
        };
        let protocol = match (url.scheme, url.login) {
            (Scheme::Socks4 | Scheme::Socks4a, Login::UserId(user_id)) => Protocol::Socks4(user_id),
            (Scheme::Socks4 | Scheme::Socks4a, _) => Protocol::Socks4(Default::default()),
            (Scheme::Socks5 | Scheme::Socks5h, login) => {
                Protocol::Socks5(Socks5::new().with_credentials(login.credentials()))
            }
            #[cfg(feature = "http-connect")]
            (_, login) => Protocol::Http(login.credentials().as_ref().map(Authorization::basic)),
        };
        Self {
            hop: Hop::new(url.proxy, protocol, inner),
            resolver,
            #[cfg(feature = "tls")]
            tls,
        }
    }

    /// How to speak TLS to a proxy of `https://`: whose certificates are good. Other
    /// proxies are not asked for it.
    ///
    /// The proxy is told that HTTP/1.1 is to come, whatever `config` says of ALPN.
    /// Without this, an `https://` proxy counts as one that could not be reached.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, config: &ClientConfig) -> Self {
        if let Tls::Unset | Tls::By(_) = self.tls {
            let mut config = config.clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            self.tls = Tls::By(Arc::new(config));
        }
        self
    }

    /// Looks names up by `resolver`, if the URL says that they are looked up here.
    #[must_use]
    pub fn with_resolver(mut self, resolver: SystemResolver) -> Self {
        if let Some(own) = &mut self.resolver {
            *own = resolver;
        }
        self
    }

    /// How long dial and handshake may take together: 30 seconds unless set. The
    /// look-up of the target's name is not counted. With none, whoever waits has a
    /// deadline of its own.
    #[must_use]
    pub fn with_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.hop.way_mut().timeout = timeout.into();
        self
    }
}

super::commands::binds!(ProxyConnector);
super::commands::associates!(ProxyConnector);
#[cfg(feature = "hyper")]
super::uri::uri_connector!(ProxyConnector);

opaque_future! {
    /// The future of [`ProxyConnector`].
    ProxyConnectorFuture<> -> Result<Outbound<BoxStream>, Error> = BoxConnect<BoxStream>
}

impl<C: Connector<Request>> Service<Request> for ProxyConnector<C> {
    type Response = Outbound<BoxStream>;
    type Error = Error;
    type Future = ProxyConnectorFuture;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        #[cfg(feature = "tls")]
        match self.over_tls() {
            Some(Ok(hop)) => return boxed(hop.connect(request)),
            Some(Err(error)) => return boxed::<C::Io>(async { Err(error) }),
            None => {}
        }
        let Self { hop, resolver, .. } = self.clone();
        boxed(async move {
            match (resolver, &request.target.host) {
                (Some(resolver), Host::Name(_)) => {
                    let pinned = pin(resolver, &request).await?;
                    hop.connect_pinned(request.with_target(pinned)).await
                }
                _ => hop.connect(request).await,
            }
        })
    }
}

/// The proxy is told addresses, that it has words for: one after the other, while it
/// says that it reaches none; four at most.
impl<C: Connector<Request>> Service<Request<Pinned>> for ProxyConnector<C> {
    type Response = Outbound<BoxStream>;
    type Error = Error;
    type Future = ProxyConnectorFuture;

    always_ready!();

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        #[cfg(feature = "tls")]
        match self.over_tls() {
            Some(Ok(hop)) => return boxed(hop.connect_pinned(request)),
            Some(Err(error)) => return boxed::<C::Io>(async { Err(error) }),
            None => {}
        }
        boxed(self.hop.clone().connect_pinned(request))
    }
}

#[cfg(feature = "tls")]
impl<C: Clone> ProxyConnector<C> {
    /// The same hop over TLS, if its proxy wants that.
    fn over_tls(&self) -> Option<Result<Hop<TlsConnector<C>>, Error>> {
        Some(match &self.tls {
            Tls::No => return None,
            Tls::Unset => Err(self.hop.unreachable(NoTls).into()),
            Tls::By(config) => {
                let over = |inner| TlsConnector::new(config.clone(), inner);
                Ok(self.hop.clone().map(over))
            }
        })
    }
}

fn boxed<Io: Stream>(
    connecting: impl Future<Output = Result<Outbound<Io>, Error>> + Send + 'static,
) -> ProxyConnectorFuture {
    ProxyConnectorFuture::new(Box::pin(async move { Ok(connecting.await?.boxed()) }))
}
