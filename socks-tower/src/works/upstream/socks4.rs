use socks_core::{Target, v4::UserId};

use super::hop::{Hop, Protocol, hop_connector};

/// Connects to targets through a SOCKS4 or SOCKS4a proxy, which `C` reaches. See
/// the [module's page](super).
///
/// A name takes SOCKS4a. A proxy of SOCKS4 alone wants a
/// [`ResolveLayer`](crate::ResolveLayer) around this. An IPv6 address is refused:
/// 08, address type not supported.
#[derive(Clone, Debug)]
pub struct Socks4Connector<C> {
    hop: Hop<C>,
}

hop_connector!(Socks4Connector);
super::commands::binds!(Socks4Connector);
#[cfg(feature = "hyper")]
super::uri::uri_connector!(Socks4Connector);

impl<C> Socks4Connector<C> {
    /// Through the proxy at `proxy`, with an empty user id.
    #[must_use]
    pub fn new(proxy: Target, inner: C) -> Self {
        let protocol = Protocol::Socks4(UserId::default());
        Self {
            hop: Hop::new(proxy, protocol, inner),
        }
    }

    /// Says that we are `user_id`.
    #[must_use]
    pub fn with_user_id(mut self, user_id: UserId) -> Self {
        self.hop.way_mut().protocol = Protocol::Socks4(user_id);
        self
    }
}
