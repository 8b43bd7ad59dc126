use std::{future::Future, num::NonZeroUsize, pin::Pin, sync::Arc, time::Duration};

use tower_service::Service;

use super::associate::{Config, associate};
use crate::{
    session::{
        AnyConnector, Connector, Error, Judge, Judged, Request, Requested, Stream, Transfer, Work,
        always_ready, opaque_future, trace,
    },
    stages::listen_addrs::ListenAddrs,
    works::{egress::Egress, upstream::Told},
};

/// Relays a client's datagrams until its connection ends. See the
/// [module's page](crate::stages::udp).
///
/// `J` is asked about each new destination: a
/// `Service<Request, Response = Request<Pinned>>`.
#[derive(Clone, Debug)]
pub struct UdpAssociate<J> {
    judge: J,
    config: Arc<Config>,
}

impl<J> UdpAssociate<J> {
    /// Asks `judge` about each destination that a client sends to.
    ///
    /// It is the stack that serves CONNECT, with [`Permit`](crate::Permit) in
    /// the place of the connector.
    #[must_use]
    pub fn new(judge: J) -> Self
    where
        J: Judge,
    {
        Self {
            judge,
            config: Arc::default(),
        }
    }

    /// Relays datagrams through another proxy, of SOCKS5: `connector` is asked for an
    /// association there whenever a client asks for one here. It is a connector through
    /// a proxy, or a pool or routes of some; what does not serve that says 07, command not
    /// supported. It is asked with [`Command::UDP_ASSOCIATE`](crate::Command::UDP_ASSOCIATE)
    /// and an unspecified target, as destinations are not known by then.
    ///
    /// `judge` is asked about each destination, and says what the upstream is told:
    /// [`NameRules`](crate::NameRules) pass names on, a [`Judge`] looks them up.
    ///
    /// ```
    /// use socks_tower::{NameRules, ProxyConnector, Rules, UdpAssociate, works::upstream::direct};
    ///
    /// let upstream = ProxyConnector::new("socks5h://proxy.example".parse()?, direct());
    /// let udp = UdpAssociate::through(NameRules::new(Rules::new()), upstream);
    /// # let _ = udp;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn through(judge: J, connector: impl Connector<Request>) -> UdpAssociate<Told<J>>
    where
        J: Work<Request, Response: Judged>,
    {
        let config = Config {
            upstream: Some(AnyConnector::new(connector)),
            ..Config::default()
        };
        UdpAssociate {
            judge: Told::new(judge),
            config: Arc::new(config),
        }
    }

    fn config(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }

    /// How long an association may stand in which no datagram goes through;
    /// `None` for as long as its connection does. By default 5 minutes. RFC
    /// 4787 wants at least 2 of a NAT, and clients count on that.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config().idle_timeout = timeout.into();
        self
    }

    /// How many destinations an association has at a time. A further one takes
    /// the place of that which has been idle for longest: whoever that was is not
    /// heard any more until the client sends to it again. By default 1,024, of about 300 bytes each. Clients of BitTorrent
    /// have some thousands of peers; [`with_full_cone`](Self::with_full_cone)
    /// hears them all, and anybody else.
    #[must_use]
    pub fn with_max_flows(mut self, max: NonZeroUsize) -> Self {
        self.config().max_flows = max.get();
        self
    }

    /// How many bytes the system holds for each of an association's sockets (there are
    /// two or three) while this process is busy elsewhere. What comes beyond that is lost.
    /// By default 1 MiB, which on Linux is 2,500 small datagrams or 900 of 1,200 bytes. The
    /// system grants as much as it permits (`net.core.rmem_max`, of which the usual 208
    /// KiB are a fifth of that), and bounds all sockets together (`net.ipv4.udp_mem`).
    ///
    /// Nothing is taken before it is needed.
    #[must_use]
    pub fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.config().receive_buffer = bytes;
        self
    }

    /// Whether anybody may send to the client, once it has sent something: what
    /// RFC 4787 calls endpoint-independent filtering, and games and
    /// peer-to-peer programs want.
    ///
    /// Off by default: only destinations that were sent to may answer. When on,
    /// answers no longer keep an association alive, as strangers could.
    #[must_use]
    pub fn with_full_cone(mut self, full_cone: bool) -> Self {
        self.config().full_cone = full_cone;
        self
    }

    /// Puts fragments together (RFC 1928 section 7) which come within `timeout`
    /// of the first. By the RFC that is no less than 5 seconds. By default
    /// fragments are dropped: hardly a client sends any.
    ///
    /// An association holds one datagram in fragments, 64 KiB, at most.
    #[must_use]
    pub fn with_reassembly(mut self, timeout: Duration) -> Self {
        self.config().reassembly = Some(timeout);
        self
    }

    /// Where clients' datagrams are awaited, and what clients are told of that.
    /// By default a free port of the address that the client's connection came
    /// to.
    #[must_use]
    pub fn with_listen_addrs(mut self, addrs: ListenAddrs) -> Self {
        self.config().listen = addrs;
        self
    }

    /// How datagrams leave for their destinations: an address to come from, an
    /// interface, a mark. By default as the system has it; an [`Egress`] in the
    /// session's extensions, when the association begins, goes before this.
    #[must_use]
    pub fn with_egress(mut self, egress: impl Into<Egress>) -> Self {
        self.config().egress = egress.into();
        self
    }
}

opaque_future! {
    /// The future of [`UdpAssociate`].
    UdpAssociateFuture<> -> Result<Transfer, Error> = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>
}

impl<Io, J> Service<Requested<Io>> for UdpAssociate<J>
where
    Io: Stream,
    J: Judge,
{
    type Response = Transfer;
    type Error = Error;
    type Future = UdpAssociateFuture;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let judge = self.judge.clone();
        let config = Arc::clone(&self.config);
        let stage = trace::udp_associate();
        UdpAssociateFuture::new(Box::pin(stage.run(associate(judge, config, requested))))
    }
}
