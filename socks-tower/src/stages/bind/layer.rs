use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Bind, BindThroughLayer};
use crate::{
    session::{Connector, Judge, Judged, Keepalive, Request, Work},
    stages::listen_addrs::ListenAddrs,
    works::{egress::Egress, upstream::Told},
};

/// Lets peers in that the judge `J` permits. See the
/// [module's page](crate::stages::bind).
#[derive(Clone, Debug)]
pub struct BindLayer<J> {
    judge: J,
    config: Arc<Config>,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) timeout: Duration,
    pub(super) listen: ListenAddrs,
    pub(super) keepalive: Keepalive,
    pub(super) egress: Egress,
}

impl<J> BindLayer<J> {
    /// Two minutes: SOCKS4's own limit.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

    /// Asks `judge` about each peer: the stack that serves CONNECT, with
    /// [`Permit`](crate::Permit) in the place of the connector.
    pub fn new(judge: J) -> Self
    where
        J: Judge,
    {
        let config = Config {
            timeout: Self::DEFAULT_TIMEOUT,
            listen: ListenAddrs::new(),
            keepalive: Keepalive::default(),
            egress: Egress::new(),
        };
        Self {
            judge,
            config: Arc::new(config),
        }
    }

    /// Has another proxy listen, of SOCKS5 or SOCKS4: `connector` is asked for that, with
    /// [`Command::BIND`](crate::Command::BIND) and the peer that the client expects. It
    /// is a connector through a proxy, or a pool or routes of some; what does not serve
    /// that says 07, command not supported.
    ///
    /// `judge` is asked about peers, and says what the upstream is told:
    /// [`NameRules`](crate::NameRules) pass names on, a [`Judge`] looks them up.
    ///
    /// ```
    /// use socks_tower::{
    ///     BindLayer, NameRules, ProxyConnector, Relay, Rules, works::upstream::direct,
    /// };
    /// use tower::ServiceBuilder;
    ///
    /// let upstream = ProxyConnector::new("socks5h://proxy.example".parse()?, direct());
    /// let bind = ServiceBuilder::new()
    ///     .layer(BindLayer::through(NameRules::new(Rules::new()), upstream))
    ///     .service(Relay::new());
    /// # let _ = bind;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn through(judge: J, connector: impl Connector<Request>) -> BindThroughLayer<Told<J>>
    where
        J: Work<Request, Response: Judged>,
    {
        BindThroughLayer::new(Told::new(judge), connector, Self::DEFAULT_TIMEOUT)
    }

    /// How long to wait for the peer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.config).timeout = timeout;
        self
    }

    /// Where to listen, and what to say of it.
    #[must_use]
    pub fn with_listen_addrs(mut self, addrs: ListenAddrs) -> Self {
        Arc::make_mut(&mut self.config).listen = addrs;
        self
    }

    /// Whether, and when, the kernel asks a silent peer if it is still there.
    /// By default after a minute.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: Keepalive) -> Self {
        Arc::make_mut(&mut self.config).keepalive = keepalive;
        self
    }

    /// Listens on the address, by the interface and with the mark that connections
    /// leave by; an [`Egress`] in the session's extensions, where the judge can put
    /// it, too, goes before this. What [`ListenAddrs`] names goes before its address.
    #[must_use]
    pub fn with_egress(mut self, egress: impl Into<Egress>) -> Self {
        Arc::make_mut(&mut self.config).egress = egress.into();
        self
    }
}

impl<J: Clone, S> Layer<S> for BindLayer<J> {
    type Service = Bind<J, S>;

    fn layer(&self, inner: S) -> Bind<J, S> {
        Bind {
            judge: self.judge.clone(),
            config: self.config.clone(),
            inner,
        }
    }
}
