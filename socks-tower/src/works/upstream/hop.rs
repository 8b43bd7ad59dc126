//! What all connectors through a proxy are: a way to it, and what to say to it.

use std::{fmt, future::ready, mem, net::SocketAddr, sync::Arc, time::Duration};

use socks_core::{
    Credentials, Host, Target,
    client::{Client, Offer, TargetError},
    v4::UserId,
    v5::{Command, ReplyCode},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_util::either::Either;

use super::{
    ClientMethod, UpstreamError, UpstreamFailure, UpstreamFuture,
    connecting::{Asking, Connecting},
    handshake::Talk,
};
#[cfg(feature = "http-connect")]
use super::{handshake::Words, http};
use crate::{
    session::{
        Bound, Connector, Error, ErrorKind, Outbound, Pinned, Request, Run, Session,
        WrapsDatagrams, later,
    },
    works::tcp::ConnectError,
};

/// How long dial and handshake may take together, unless set: an upstream that
/// waits for its target for as long as most do, has time to say so.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many of a target's addresses a proxy is asked for, one after the other.
const MAX_TRIES: usize = 4;

/// A way to a proxy, `C`, and what to say to it.
#[derive(Clone, Debug)]
pub(super) struct Hop<C> {
    /// In one place: it is cloned for each connection, and never changes.
    way: Arc<Way>,
    inner: C,
}

#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(super) proxy: Target,
    pub(super) protocol: Protocol,
    pub(super) timeout: Option<Duration>,
}

/// What a proxy speaks.
#[derive(Clone, Debug)]
pub(super) enum Protocol {
    Socks5(Socks5),
    Socks4(UserId),
    #[cfg(feature = "http-connect")]
    Http(Option<http::Authorization>),
}

#[derive(Clone)]
pub(super) struct Socks5 {
    credentials: Option<Credentials>,
    methods: Arc<[Arc<dyn ClientMethod>]>,
    /// All of these, and no authentication.
    offer: Offer,
    in_one_flight: bool,
}

impl fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socks5")
            .field("offer", &self.offer)
            .field("in_one_flight", &self.in_one_flight)
            .finish()
    }
}

impl Socks5 {
    pub(super) fn new() -> Self {
        Self {
            credentials: None,
            methods: Arc::new([]),
            offer: Offer::none(),
            in_one_flight: false,
        }
    }

    pub(super) fn with_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self.offering()
    }

    pub(super) fn with_method(mut self, method: Arc<dyn ClientMethod>) -> Self {
        self.methods = self.methods.iter().cloned().chain([method]).collect();
        self.offering()
    }

    pub(super) fn with_one_flight(mut self) -> Self {
        self.in_one_flight = true;
        self
    }

    fn offering(mut self) -> Self {
        let own = self
            .methods
            .iter()
            .map(|method| Offer::method(method.code()));
        let password = self.credentials.clone().map(Offer::password);
        let offers = own.chain(password).chain([Offer::none()]);
        self.offer = offers.reduce(Offer::or).unwrap_or_else(Offer::none);
        self
    }

    #[inline]
    fn client(&self, command: Command, target: Target) -> Client {
        if self.in_one_flight {
            return Client::v5_in_one_flight(self.credentials.clone(), command, target);
        }
        Client::v5(self.offer.clone(), command, target)
    }
}

impl Protocol {
    /// Whether there are words for `addr`.
    fn can_say(&self, addr: &SocketAddr) -> bool {
        addr.is_ipv4() || !matches!(self, Self::Socks4(_))
    }

    /// What there is to say, unless there are no words for it.
    #[inline]
    fn begin(&self, command: Command, target: Target) -> Result<Asking, UpstreamError> {
        let client = match (self, command) {
            (Self::Socks5(socks5), Command::CONNECT | Command::BIND | Command::UDP_ASSOCIATE) => {
                socks5.client(command, target)
            }
            (Self::Socks4(user_id), Command::CONNECT | Command::BIND) => {
                Client::v4a(user_id.clone(), command, target).map_err(unsupported)?
            }
            #[cfg(feature = "http-connect")]
            (Self::Http(authorization), Command::CONNECT) => {
                let head = http::head(&target, authorization.as_ref());
                return Ok(Asking::Http(Words::new(head.into())));
            }
            _ => return Err(not_served(command)),
        };
        Ok(Asking::Socks(Talk::new(client)))
    }

    /// The methods that there are besides a password.
    pub(super) fn methods(&self) -> &[Arc<dyn ClientMethod>] {
        if let Self::Socks5(socks5) = self {
            &socks5.methods
        } else {
            &[]
        }
    }
}

fn not_served(command: Command) -> UpstreamError {
    UpstreamError::refusal(
        UpstreamFailure::Unsupported,
        ReplyCode::COMMAND_NOT_SUPPORTED,
        format!("its protocol has no {command}"),
    )
}

fn unsupported(error: TargetError) -> UpstreamError {
    UpstreamError::refusal(
        UpstreamFailure::Unsupported,
        ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED,
        error,
    )
}

impl<C> Hop<C> {
    pub(super) fn new(proxy: Target, protocol: Protocol, inner: C) -> Self {
        let timeout = Some(TIMEOUT);
        let way = Arc::new(Way {
            proxy,
            protocol,
            timeout,
        });
        Self { way, inner }
    }

    /// The same, reached by another connector.
    pub(super) fn map<New>(self, change: impl FnOnce(C) -> New) -> Hop<New> {
        Hop {
            way: self.way,
            inner: change(self.inner),
        }
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    pub(super) fn way_mut(&mut self) -> &mut Way {
        Arc::make_mut(&mut self.way)
    }

    /// Why its proxy is not reached.
    #[cfg(feature = "tls")]
    pub(super) fn unreachable(&self, why: impl Into<crate::session::BoxError>) -> UpstreamError {
        let error = UpstreamError::new(UpstreamFailure::Unreachable, why);
        error.of(self.way.proxy.clone())
    }
}

impl<C: Connector<Request>> Hop<C> {
    /// Connects to `request.target`, whoever looks it up.
    pub(super) fn connect(&self, request: Request) -> UpstreamFuture<C> {
        match self.connect_by(self.way.deadline(), request) {
            Ok(connecting) => UpstreamFuture::new(Either::Left(connecting)),
            Err(error) => UpstreamFuture::boxed(ready(Err(error.into()))),
        }
    }

    /// Connects to the first of a target's addresses that the proxy reaches.
    pub(super) async fn connect_pinned(
        self,
        request: Request<Pinned>,
    ) -> Result<Outbound<C::Io>, Error> {
        let deadline = self.way.deadline();
        let all = || request.target.addrs().iter().copied();
        let mut addrs = all().filter(|addr| self.way.protocol.can_say(addr));
        // If there are words for none of them, the error says so.
        let Some(mut addr) = addrs.next().or(all().next()) else {
            return Err(Error::new(ErrorKind::Connect, ConnectError::NoAddress));
        };
        let mut tries = 1;
        loop {
            let request = Request::new(request.session.clone(), request.command, addr.into());
            let connected = match self.connect_by::<UpstreamError>(deadline, request) {
                Ok(connecting) => connecting.await,
                Err(error) => Err(error),
            };
            addr = match (connected, addrs.next()) {
                (Err(error), Some(next)) if error.is_unreached() && tries < MAX_TRIES => next,
                (connected, _) => return Ok(connected?),
            };
            tries += 1;
        }
    }

    /// Asks for `command` on nobody's behalf, up to the first answer.
    pub(super) async fn ask(
        self,
        command: Command,
        target: Target,
    ) -> Result<Outbound<C::Io>, UpstreamError> {
        let deadline = self.way.deadline();
        let request = Request::new(Session::new(), command, target);
        self.connect_by(deadline, request)?.await
    }

    fn connect_by<E>(
        &self,
        deadline: Option<Instant>,
        mut request: Request,
    ) -> Result<Connecting<C, E>, UpstreamError> {
        let proxy = &self.way.proxy;
        let command = mem::replace(&mut request.command, Command::CONNECT);
        let target = mem::replace(&mut request.target, proxy.clone());
        let asking = self.way.protocol.begin(command, target);
        let asking = asking.map_err(|error| error.of(proxy.clone()))?;
        let dial = Run::new(self.inner.clone(), request);
        Ok(Connecting::new(
            self.way.clone(),
            command,
            asking,
            deadline,
            dial,
        ))
    }
}

impl Way {
    fn deadline(&self) -> Option<Instant> {
        let timeout = self.timeout?;
        Some(later(Instant::now(), timeout))
    }

    /// Where the proxy is to be found for what it has granted. An unspecified address
    /// stands for its own.
    pub(super) fn bound(
        &self,
        mut addr: Target,
        client: Client,
        wrapper: Option<WrapsDatagrams>,
        tcp: Option<&TcpStream>,
    ) -> Box<Bound> {
        if matches!(addr.host, Host::Ip(ip) if ip.is_unspecified()) {
            let seen = || tcp?.peer_addr().ok().map(|addr| addr.ip());
            addr.host = match (&self.proxy.host, seen()) {
                (Host::Name(_), Some(ip)) => Host::Ip(ip),
                (own, _) => own.clone(),
            };
        }
        let proxy = self.proxy.clone();
        Box::new(Bound {
            proxy,
            addr,
            client,
            wrapper,
        })
    }
}

/// Makes a connector of what has a [`Hop`].
macro_rules! hop_connector {
    ($name:ident) => {
        impl<C: crate::session::Connector<crate::session::Request>>
            tower_service::Service<crate::session::Request> for $name<C>
        {
            type Response = crate::session::Outbound<C::Io>;
            type Error = crate::session::Error;
            type Future = super::UpstreamFuture<C>;

            crate::session::always_ready!();

            fn call(&mut self, request: crate::session::Request) -> Self::Future {
                self.hop.connect(request)
            }
        }

        /// The proxy is told addresses, that it has words for: one after the other, while
        /// it says that it reaches none; four at most.
        impl<C: crate::session::Connector<crate::session::Request>>
            tower_service::Service<crate::session::Request<crate::session::Pinned>> for $name<C>
        {
            type Response = crate::session::Outbound<C::Io>;
            type Error = crate::session::Error;
            type Future = super::UpstreamFuture<C>;

            crate::session::always_ready!();

            fn call(
                &mut self,
                request: crate::session::Request<crate::session::Pinned>,
            ) -> Self::Future {
                super::UpstreamFuture::boxed(self.hop.clone().connect_pinned(request))
            }
        }

        impl<C> $name<C> {
            /// How long dial and handshake may take together: 30 seconds unless
            /// set, which leaves an upstream the time to say that its target does
            /// not answer. With none, whoever waits has a deadline of its own.
            #[must_use]
            pub fn with_timeout(mut self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
                self.hop.way_mut().timeout = timeout.into();
                self
            }
        }
    };
}
pub(super) use hop_connector;
