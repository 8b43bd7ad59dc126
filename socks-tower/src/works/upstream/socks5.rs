use std::sync::Arc;

use socks_core::{Credentials, Target};
use tower::util::MapResponse;
use tower_service::Service;

use super::{
    ClientMethod,
    hop::{Hop, Protocol, Socks5, hop_connector},
};
use crate::session::{BoxStream, Connector, IntoOutbound, Outbound, Request};

/// A connector that answers with a [`BoxStream`], which a method can wrap. Plain TCP
/// stays plain TCP in it.
pub type Boxed<C> = MapResponse<C, fn(<C as Service<Request>>::Response) -> Outbound<BoxStream>>;

/// Connects to targets through a SOCKS5 proxy, which `C` reaches. See the
/// [module's page](super).
#[derive(Clone, Debug)]
pub struct Socks5Connector<C> {
    hop: Hop<C>,
}

hop_connector!(Socks5Connector);
super::commands::binds!(Socks5Connector);
super::commands::associates!(Socks5Connector);
#[cfg(feature = "hyper")]
super::uri::uri_connector!(Socks5Connector);

impl<C> Socks5Connector<C> {
    /// Through the proxy at `proxy`, without authentication.
    #[must_use]
    pub fn new(proxy: Target, inner: C) -> Self {
        let protocol = Protocol::Socks5(Socks5::new());
        Self {
            hop: Hop::new(proxy, protocol, inner),
        }
    }

    /// Offers to authenticate by username and password, besides doing without.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        self.with(|socks5| socks5.with_credentials(Some(credentials)))
    }

    /// Offers `method` too: behind those added before, ahead of the password. A
    /// proxy takes one of them, in its own order or ours.
    ///
    /// The method may wrap the stream, which is a [`BoxStream`] therefore.
    #[must_use]
    pub fn with_method(self, method: impl ClientMethod) -> Socks5Connector<Boxed<C>>
    where
        C: Connector<Request>,
    {
        let Self { hop } = self.with(|socks5| socks5.with_method(Arc::new(method)));
        let boxed: fn(C::Response) -> _ = |answer| answer.into_outbound().boxed();
        Socks5Connector {
            hop: hop.map(|inner| MapResponse::new(inner, boxed)),
        }
    }

    /// Sends greeting, password and request at once, and saves a round trip, or
    /// two with a password.
    ///
    /// It offers one method alone, the password if there is one, and sends that
    /// before the proxy has said that it wants it. RFC 1928 does not foresee it:
    /// most proxies take it, some drop what comes early.
    #[must_use]
    pub fn with_one_flight(self) -> Self {
        self.with(Socks5::with_one_flight)
    }

    fn with(mut self, change: impl FnOnce(Socks5) -> Socks5) -> Self {
        if let Protocol::Socks5(socks5) = &mut self.hop.way_mut().protocol {
            *socks5 = change(socks5.clone());
        }
        self
    }
}
