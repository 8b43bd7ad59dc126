use std::time::Duration;

use socks_core::Host;
use tower_service::Service;

#[cfg(feature = "http-connect")]
use super::http::Authorization;
use super::{
    ProxyUrl, UpstreamFuture,
    hop::{Hop, Protocol, Socks5},
    url::{Login, Scheme},
};
use crate::{
    session::{BoxStream, Connector, Error, Outbound, Pinned, Request, always_ready},
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
}

impl<C> ProxyConnector<C> {
    /// Through the proxy at `url`.
    #[must_use]
    pub fn new(url: ProxyUrl, inner: C) -> Self {
        let resolver = url.resolves_locally().then(SystemResolver::new);
        let protocol = match (url.scheme, url.login) {
            (Scheme::Socks4 | Scheme::Socks4a, Login::UserId(user_id)) => Protocol::Socks4(user_id),
            (Scheme::Socks4 | Scheme::Socks4a, _) => Protocol::Socks4(Default::default()),
            (Scheme::Socks5 | Scheme::Socks5h, login) => {
                Protocol::Socks5(Socks5::new().with_credentials(login.credentials()))
            }
            #[cfg(feature = "http-connect")]
            (Scheme::Http, login) => {
                Protocol::Http(login.credentials().as_ref().map(Authorization::basic))
            }
        };
        Self {
            hop: Hop::new(url.proxy, protocol, inner),
            resolver,
        }
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
    /// look-up of the target's name is not counted.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.hop.way_mut().timeout = timeout;
        self
    }
}

super::commands::commands!(ProxyConnector);
#[cfg(feature = "hyper")]
super::uri::uri_connector!(ProxyConnector);

impl<C: Connector<Request>> Service<Request> for ProxyConnector<C> {
    type Response = Outbound<BoxStream>;
    type Error = Error;
    type Future = UpstreamFuture<BoxStream>;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { hop, resolver } = self.clone();
        UpstreamFuture::new(Box::pin(async move {
            let upstream = match (resolver, &request.target.host) {
                (Some(resolver), Host::Name(_)) => {
                    let pinned = pin(resolver, &request).await?;
                    hop.connect_pinned(request.with_target(pinned)).await
                }
                _ => hop.connect(request).await,
            };
            Ok(upstream?.map_io(BoxStream::new))
        }))
    }
}

/// The proxy is told addresses, that it has words for: one after the other, while it
/// says that it reaches none; four at most.
impl<C: Connector<Request>> Service<Request<Pinned>> for ProxyConnector<C> {
    type Response = Outbound<BoxStream>;
    type Error = Error;
    type Future = UpstreamFuture<BoxStream>;

    always_ready!();

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        let connecting = self.hop.clone().connect_pinned(request);
        UpstreamFuture::new(Box::pin(async move {
            Ok(connecting.await?.map_io(BoxStream::new))
        }))
    }
}
