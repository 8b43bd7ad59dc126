//! What all connectors through a proxy are: a way to it, and what to say to it.

use std::{fmt, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use socks_core::{
    Credentials, Target,
    client::{Client, Offer, TargetError},
    v4::UserId,
    v5::{Command, ReplyCode},
};
use tokio::time::Instant;

#[cfg(feature = "http-connect")]
use super::http;
use super::{
    ClientMethod, UpstreamError, UpstreamFailure,
    handshake::{Asked, socks},
    method::Methods,
};
use crate::{
    session::{
        BoxError, Connector, Error, ErrorKind, IntoOutbound, Outbound, Pinned, Request, Session,
        Stream, WrapsDatagrams, opaque_future, timeout_at,
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
pub(super) struct Way {
    pub(super) proxy: Target,
    pub(super) protocol: Protocol,
    pub(super) timeout: Duration,
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

    async fn connect<Io: Stream>(
        &self,
        io: &mut Io,
        target: Target,
        asked: &Asked,
    ) -> Result<Target, UpstreamError> {
        match self {
            Self::Socks5(socks5) => {
                let mut client = socks5.client(Command::CONNECT, target);
                let mut methods = Methods::new(Command::CONNECT, &socks5.methods);
                socks(io, &mut client, &mut methods, asked).await
            }
            Self::Socks4(user_id) => {
                let client = Client::v4a(user_id.clone(), Command::CONNECT, target);
                socks(
                    io,
                    &mut client.map_err(unsupported)?,
                    &mut Methods::none(),
                    asked,
                )
                .await
            }
            #[cfg(feature = "http-connect")]
            Self::Http(authorization) => {
                http::connect(io, &target, authorization.as_ref(), asked).await
            }
        }
    }

    /// Asks without a deadline.
    #[cfg(all(test, feature = "http-connect"))]
    pub(super) async fn ask<Io: Stream>(
        &self,
        io: &mut Io,
        target: Target,
    ) -> Result<Target, UpstreamError> {
        self.connect(io, target, &Asked::default()).await
    }

    /// Refuses what the proxy cannot be asked.
    fn supports(&self, command: Command, target: &Target) -> Result<(), UpstreamError> {
        if command != Command::CONNECT {
            return Err(not_served("a stream takes CONNECT"));
        }
        match (self, &target.socket_addr()) {
            (Self::Socks4(_), Some(addr)) if addr.ip().to_canonical().is_ipv6() => {
                Err(unsupported(TargetError::Ipv6))
            }
            _ => Ok(()),
        }
    }
}

fn not_served(why: &'static str) -> UpstreamError {
    UpstreamError::refusal(
        UpstreamFailure::Unsupported,
        ReplyCode::COMMAND_NOT_SUPPORTED,
        why,
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
        let timeout = TIMEOUT;
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
    pub(super) fn unreachable(&self, why: impl Into<BoxError>) -> UpstreamError {
        let error = UpstreamError::new(UpstreamFailure::Unreachable, why);
        error.of(self.way.proxy.clone())
    }
}

impl<C: Connector<Request>> Hop<C> {
    /// Connects to `request.target`, whoever looks it up.
    pub(super) async fn connect(self, request: Request) -> Result<Outbound<C::Io>, Error> {
        let Self { way, inner } = self;
        let Request {
            session,
            command,
            target,
            ..
        } = request;
        let dialling = way.dial(inner, session);
        let connected = way.connect(way.deadline(), dialling, command, target);
        Ok(connected.await?)
    }

    /// Connects to the first of a target's addresses that the proxy reaches.
    pub(super) async fn connect_pinned(
        self,
        request: Request<Pinned>,
    ) -> Result<Outbound<C::Io>, Error> {
        let Self { way, inner } = self;
        let Request {
            session,
            command,
            target,
            ..
        } = request;
        let deadline = way.deadline();
        let all = || target.addrs().iter().copied();
        let mut addrs = all().filter(|addr| way.protocol.can_say(addr));
        // If there are words for none of them, the error says so.
        let Some(mut addr) = addrs.next().or(all().next()) else {
            return Err(Error::new(ErrorKind::Connect, ConnectError::NoAddress));
        };
        let mut tries = 1;
        loop {
            let dialling = way.dial(inner.clone(), session.clone());
            let connected = way.connect(deadline, dialling, command, addr.into());
            addr = match (connected.await, addrs.next()) {
                (Err(error), Some(next)) if error.is_unreached() && tries < MAX_TRIES => next,
                (connected, _) => return Ok(connected?),
            };
            tries += 1;
        }
    }

    /// Asks a SOCKS5 proxy for `command`, up to the first answer. Leaves in `datagrams`
    /// what they are to be wrapped by.
    pub(super) async fn ask(
        self,
        command: Command,
        target: Target,
        datagrams: &mut Option<WrapsDatagrams>,
    ) -> Result<(Outbound<C::Io>, Client, Target), UpstreamError> {
        let Self { way, inner } = self;
        let asked = Asked::default();
        let asking = pin!(async {
            let Protocol::Socks5(socks5) = &way.protocol else {
                return Err(not_served("only SOCKS5 serves BIND and UDP ASSOCIATE"));
            };
            let mut client = socks5.client(command, target);
            let mut upstream = dialled(way.dial(inner, Session::new()).await)?;
            let mut methods = Methods::new(command, &socks5.methods).with_datagrams(datagrams);
            let bound = socks(&mut upstream.io, &mut client, &mut methods, &asked).await?;
            Ok((upstream, client, bound))
        });
        way.by(way.deadline(), &asked, asking).await
    }
}

impl Way {
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Dials the proxy.
    fn dial<C: Connector<Request>>(
        &self,
        inner: C,
        session: Session,
    ) -> impl Future<Output = Result<C::Response, BoxError>> + Send + use<C> {
        inner.run(Request::new(session, Command::CONNECT, self.proxy.clone()))
    }

    /// Asks the proxy that `dialling` reaches for `target`.
    async fn connect<T: IntoOutbound>(
        &self,
        deadline: Instant,
        dialling: impl Future<Output = Result<T, BoxError>>,
        command: Command,
        target: Target,
    ) -> Result<Outbound<T::Io>, UpstreamError> {
        let asked = Asked::default();
        // Where it stays: to move it on takes longer than all that it says.
        let dialling = pin!(dialling);
        let connecting = pin!(async {
            self.protocol.supports(command, &target)?;
            let mut upstream = dialled(dialling.await)?;
            self.protocol
                .connect(&mut upstream.io, target, &asked)
                .await?;
            Ok(upstream)
        });
        self.by(deadline, &asked, connecting).await
    }

    /// Runs `asking` up to the deadline.
    async fn by<T>(
        &self,
        deadline: Instant,
        asked: &Asked,
        asking: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let answered = timeout_at(deadline, asking).await;
        let answered = answered.unwrap_or_else(|elapsed| Err(asked.too_late(elapsed)));
        answered.map_err(|error| error.of(self.proxy.clone()))
    }
}

fn dialled<T: IntoOutbound>(
    dialled: Result<T, BoxError>,
) -> Result<Outbound<T::Io>, UpstreamError> {
    match dialled {
        Ok(upstream) => Ok(upstream.into_outbound()),
        Err(error) => Err(UpstreamError::new(UpstreamFailure::Unreachable, error)),
    }
}

type BoxConnect<Io> = std::pin::Pin<Box<dyn Future<Output = Result<Outbound<Io>, Error>> + Send>>;

opaque_future! {
    /// The future of the connectors through a proxy.
    UpstreamFuture<Io> -> Result<Outbound<Io>, Error> = BoxConnect<Io>
}

/// Makes a connector of what has a [`Hop`].
macro_rules! hop_connector {
    ($name:ident) => {
        impl<C: crate::session::Connector<crate::session::Request>>
            tower_service::Service<crate::session::Request> for $name<C>
        {
            type Response = crate::session::Outbound<C::Io>;
            type Error = crate::session::Error;
            type Future = super::UpstreamFuture<C::Io>;

            crate::session::always_ready!();

            fn call(&mut self, request: crate::session::Request) -> Self::Future {
                super::UpstreamFuture::new(Box::pin(self.hop.clone().connect(request)))
            }
        }

        /// The proxy is told addresses, that it has words for: one after the other, while
        /// it says that it reaches none; four at most.
        impl<C: crate::session::Connector<crate::session::Request>>
            tower_service::Service<crate::session::Request<crate::session::Pinned>> for $name<C>
        {
            type Response = crate::session::Outbound<C::Io>;
            type Error = crate::session::Error;
            type Future = super::UpstreamFuture<C::Io>;

            crate::session::always_ready!();

            fn call(
                &mut self,
                request: crate::session::Request<crate::session::Pinned>,
            ) -> Self::Future {
                super::UpstreamFuture::new(Box::pin(self.hop.clone().connect_pinned(request)))
            }
        }

        impl<C> $name<C> {
            /// How long dial and handshake may take together: 30 seconds unless
            /// set, which leaves an upstream the time to say that its target does
            /// not answer.
            #[must_use]
            pub fn with_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.hop.way_mut().timeout = timeout;
                self
            }
        }
    };
}
pub(super) use hop_connector;
