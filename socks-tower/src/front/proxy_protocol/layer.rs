use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use tower_layer::Layer;

use super::ProxyProtocol;
use crate::session::Session;

/// Reads the PROXY header of connections from trusted senders. See the
/// [module's page](crate::front::proxy_protocol).
#[derive(Clone, Debug)]
pub struct ProxyProtocolLayer {
    trusted: Arc<Vec<IpNet>>,
    pub(super) timeout: Duration,
}

impl ProxyProtocolLayer {
    /// How long a sender has for its header, unless set.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// Trusts nobody yet: changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trusted: Arc::default(),
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }

    /// Connections from `senders` must begin with a header, and it is believed.
    #[must_use]
    pub fn with_trusted(mut self, senders: IpNet) -> Self {
        Arc::make_mut(&mut self.trusted).push(senders);
        self
    }

    /// Bounds the time from accept to the end of the header. It should be 3
    /// seconds at least: a lost segment is sent again within that time (section 2
    /// of the protocol's specification).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) fn trusts(&self, session: &Session) -> bool {
        let Some(addr) = session.client_addr else {
            return false;
        };
        self.trusted.iter().any(|net| net.contains(&addr.ip()))
    }
}

impl Default for ProxyProtocolLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ProxyProtocolLayer {
    type Service = ProxyProtocol<S>;

    fn layer(&self, inner: S) -> ProxyProtocol<S> {
        ProxyProtocol {
            config: self.clone(),
            inner,
        }
    }
}
