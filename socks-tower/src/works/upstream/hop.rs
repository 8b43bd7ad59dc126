//! What all connectors through a proxy are: a way to it, and what to say to it.

use std::{fmt, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use socks_core::{
    Credentials, Host, Target,
    client::{Client, Offer, TargetError},
    v4::UserId,
    v5::{Command, ReplyCode},
};
use tokio::{net::TcpStream, time::Instant};

#[cfg(feature = "http-connect")]
use super::http;
use super::{
    ClientMethod, UpstreamError, UpstreamFailure,
    handshake::{Asked, socks},
    method::Methods,
};
use crate::{
    session::{
        Bound, BoxError, Connector, Error, ErrorKind, IntoOutbound, Outbound, Pinned, Request,
        Session, Stream, WrapsDatagrams, later, opaque_future, timeout_at,
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

/// What a command other than CONNECT goes on with.
type Rest = (Client, Option<WrapsDatagrams>);

impl Protocol {
    /// Whether there are words for `addr`.
    fn can_say(&self, addr: &SocketAddr) -> bool {
        addr.is_ipv4() || !matches!(self, Self::Socks4(_))
    }

    /// Gives where the proxy said that it is, and what to go on with unless that was
    /// all.
    async fn ask<Io: Stream>(
        &self,
        io: &mut Io,
        command: Command,
        target: Target,
        asked: &Asked,
    ) -> Result<(Target, Option<Box<Rest>>), UpstreamError> {
        let (mut client, methods) = match self {
            Self::Socks5(socks5) => (socks5.client(command, target), &*socks5.methods),
            Self::Socks4(user_id) => {
                let client = Client::v4a(user_id.clone(), command, target);
                (client.map_err(unsupported)?, &[][..])
            }
            #[cfg(feature = "http-connect")]
            Self::Http(authorization) => {
                let bound = http::connect(io, &target, authorization.as_ref(), asked).await?;
                return Ok((bound, None));
            }
        };
        let mut wrapper = None;
        let mut methods = Methods::new(command, methods).with_datagrams(&mut wrapper);
        let bound = socks(io, &mut client, &mut methods, asked).await?;
        let is_all = command == Command::CONNECT;
        Ok((bound, (!is_all).then(|| Box::new((client, wrapper)))))
    }

    /// Asks without a deadline.
    #[cfg(all(test, feature = "http-connect"))]
    pub(super) async fn connect<Io: Stream>(
        &self,
        io: &mut Io,
        target: Target,
    ) -> Result<Target, UpstreamError> {
        let asked = Asked::default();
        let answer = self.ask(io, Command::CONNECT, target, &asked).await;
        answer.map(|(bound, _)| bound)
    }

    /// Refuses what the proxy cannot be asked.
    fn supports(&self, command: Command, target: &Target) -> Result<(), UpstreamError> {
        match (self, command) {
            (_, Command::CONNECT)
            | (Self::Socks5(_), Command::BIND | Command::UDP_ASSOCIATE)
            | (Self::Socks4(_), Command::BIND) => {}
            _ => return Err(not_served(command)),
        }
        match (self, &target.socket_addr()) {
            (Self::Socks4(_), Some(addr)) if addr.ip().to_canonical().is_ipv6() => {
                Err(unsupported(TargetError::Ipv6))
            }
            _ => Ok(()),
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

    /// Asks for `command` on nobody's behalf, up to the first answer.
    pub(super) async fn ask(
        self,
        command: Command,
        target: Target,
    ) -> Result<Outbound<C::Io>, UpstreamError> {
        let Self { way, inner } = self;
        let dialling = way.dial(inner, Session::new());
        way.connect(way.deadline(), dialling, command, target).await
    }
}

impl Way {
    fn deadline(&self) -> Instant {
        later(Instant::now(), self.timeout)
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
            let answer = self
                .protocol
                .ask(&mut upstream.io, command, target, &asked)
                .await?;
            if let (addr, Some(rest)) = answer {
                upstream.bound = Some(self.bound(addr, *rest, upstream.tcp()));
            }
            Ok(upstream)
        });
        self.by(deadline, &asked, connecting).await
    }

    /// Where the proxy is to be found for what it has granted. An unspecified address
    /// stands for its own.
    fn bound(
        &self,
        mut addr: Target,
        (client, wrapper): Rest,
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
