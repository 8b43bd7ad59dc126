//! Ready-made proxies: the layers of this crate in their usual order, with
//! safe defaults.

mod ends;

use std::time::Duration;

use socks_core::{
    Target,
    server::Versions,
    v5::{Command, ReplyCode},
};
use tower_layer::Layer;
use tower_service::Service;

pub use self::ends::EndsFuture;
use self::ends::{Commands, Ends, Upstream};
use crate::{
    session::{
        Accepted, AnyConnector, AnyWork, Authorizer, ClientStream, Connector, Error, Pinned,
        Request, Resolver, Stream, Transfer, always_ready, opaque_future,
    },
    stages::{
        authenticate::{Authenticate, AuthenticateFuture, AuthenticateLayer, NoAuth},
        connect::ConnectLayer,
        handshake::{Handshake, HandshakeFuture, HandshakeLayer},
        listen_addrs::ListenAddrs,
        relay::Relay,
    },
    works::{
        authorize::{Authorize, AuthorizeLayer, Rules},
        egress::Egress,
        resolve::{Resolve, ResolveLayer, SystemResolver},
        tcp::TcpConnector,
    },
};

/// How long a connector may take, from the look-up to the connection, unless
/// set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type Dial<C, A, R> = Resolve<R, Authorize<A, C>>;
type Stack<A, R, D> = Handshake<Authenticate<Ends<A, R, D>>>;

/// What a ready-made proxy is made of.
#[derive(Clone, Debug)]
struct Parts<C, A, R> {
    handshake: HandshakeLayer,
    authenticate: AuthenticateLayer,
    connect_timeout: Duration,
    resolver: R,
    authorizer: A,
    connector: C,
    commands: Commands,
    relay: Relay,
}

impl<C: Clone, A: Authorizer<Pinned>, R: Resolver> Parts<C, A, R> {
    /// How a target is reached.
    fn dial(&self) -> Dial<C, A, R>
    where
        C: Connector<Request<Pinned>>,
    {
        let authorize = AuthorizeLayer::new(self.authorizer.clone());
        let resolve = ResolveLayer::new(self.resolver.clone());
        resolve.layer(authorize.layer(self.connector.clone()))
    }

    /// The stack that the module's pages show, in one place.
    fn stack<D: Connector<Request>>(&self, dial: D) -> Stack<A, R, D> {
        let connect = ConnectLayer::new(dial).with_timeout(self.connect_timeout);
        let ends = Ends::new(
            connect.layer(self.relay.clone()),
            &self.commands,
            &self.resolver,
            &self.authorizer,
            self.connect_timeout,
            &self.relay,
        );
        self.handshake.layer(self.authenticate.layer(ends))
    }
}

opaque_future! {
    /// The future of [`Socks`], [`Socks5`] and [`Socks4`].
    SocksFuture<Io, Up> =
        HandshakeFuture<AuthenticateFuture<EndsFuture<ClientStream<Io>, Up>>>
}

/// Declares one ready-made proxy.
macro_rules! ready_made {
    ($(#[$doc:meta])* $name:ident, $versions:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<
            C = TcpConnector,
            A = Rules,
            R = SystemResolver,
            D = Resolve<R, Authorize<A, C>>,
        > {
            parts: Parts<C, A, R>,
            dial: D,
            stack: Stack<A, R, D>,
        }

        impl $name {
            /// Lets everybody in, reaches what [`Rules::new`] lets through, and
            /// bounds negotiation and dial to 10 seconds each.
            #[must_use]
            pub fn new() -> Self {
                Self::of(Parts {
                    handshake: HandshakeLayer::new().with_versions($versions),
                    authenticate: AuthenticateLayer::new(NoAuth),
                    connect_timeout: CONNECT_TIMEOUT,
                    resolver: SystemResolver::new(),
                    authorizer: Rules::new(),
                    connector: TcpConnector::new(),
                    commands: Commands::default(),
                    relay: Relay::new(),
                })
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<C: Connector<Request<Pinned>>, A: Authorizer<Pinned>, R: Resolver> $name<C, A, R> {
            fn of(parts: Parts<C, A, R>) -> Self {
                let dial = parts.dial();
                Self::from_parts(parts, dial)
            }

            /// Looks names up by `resolver`.
            #[must_use]
            pub fn with_resolver<R2: Resolver>(self, resolver: R2) -> $name<C, A, R2> {
                let Parts { handshake, authenticate, connect_timeout, resolver: _, authorizer, connector, commands, relay } = self.parts;
                $name::of(Parts { handshake, authenticate, connect_timeout, resolver, authorizer, connector, commands, relay })
            }

            /// Decides by `rules` who may reach what: [`Rules`], or any
            /// `Service<Request<Pinned>, Response = Request<Pinned>>`. The
            /// default denials are gone with the default rules. It comes before
            /// [`with_connect_layer`](Self::with_connect_layer).
            #[must_use]
            pub fn with_rules<A2: Authorizer<Pinned>>(self, rules: A2) -> $name<C, A2, R> {
                let Parts { handshake, authenticate, connect_timeout, resolver, authorizer: _, connector, commands, relay } = self.parts;
                $name::of(Parts { handshake, authenticate, connect_timeout, resolver, authorizer: rules, connector, commands, relay })
            }

            /// Dials by `connector`, a `Service<Request<Pinned>>` that answers
            /// with a stream. Resolver and rules stay.
            ///
            /// One that wants the name, because another proxy looks it up, goes
            /// around all of that: [`with_connect_layer`](Self::with_connect_layer).
            #[must_use]
            pub fn with_connector<C2: Connector<Request<Pinned>>>(self, connector: C2) -> $name<C2, A, R> {
                let Parts { handshake, authenticate, connect_timeout, resolver, authorizer, connector: _, commands, relay } = self.parts;
                $name::of(Parts { handshake, authenticate, connect_timeout, resolver, authorizer, connector, commands, relay })
            }
        }

        impl<A: Authorizer<Pinned>, R: Resolver> $name<TcpConnector, A, R> {
            /// How connections and datagrams leave, of CONNECT, BIND and UDP
            /// alike: see [`works::egress`](crate::works::egress).
            #[must_use]
            pub fn with_egress(mut self, egress: impl Into<Egress>) -> Self {
                self.parts.commands.egress = egress.into();
                let egress = self.parts.commands.egress.clone();
                self.parts.connector = self.parts.connector.with_egress(egress);
                Self::of(self.parts)
            }
        }

        impl<C: Clone, A: Authorizer<Pinned>, R: Resolver, D: Connector<Request>> $name<C, A, R, D> {
            fn from_parts(parts: Parts<C, A, R>, dial: D) -> Self {
                let stack = parts.stack(dial.clone());
                Self { parts, dial, stack }
            }

            fn rebuilt(self) -> Self {
                Self::from_parts(self.parts, self.dial)
            }

            /// Puts `layer` around all by which CONNECT reaches a target:
            /// resolver, rules and connector. A limit on tunnels stands here, and
            /// fails with a reply. What is put around last is outermost.
            ///
            /// So does what picks a way by the target's name: `layer_fn(|direct| …)`
            /// makes a connector of your own, or `Routes`, of the one that is here.
            ///
            /// It comes after [`with_resolver`](Self::with_resolver),
            /// [`with_rules`](Self::with_rules) and
            /// [`with_connector`](Self::with_connector), which it closes off.
            #[must_use]
            pub fn with_connect_layer<L>(self, layer: L) -> $name<C, A, R, L::Service>
            where
                L: Layer<D, Service: Connector<Request>>,
            {
                $name::from_parts(self.parts, layer.layer(self.dial))
            }

            /// Reaches all targets through `upstream`: CONNECT, and BIND and UDP if they
            /// are served. It is a connector through another proxy, or a pool or routes
            /// of some. Names are looked up there.
            ///
            /// `rules` judge targets, peers and the destinations of datagrams as clients
            /// name them: [`NameRules`](crate::NameRules), or any
            /// `Service<Request, Response = Request>`. Resolver and rules of before serve
            /// look-ups alone.
            ///
            /// ```
            #[doc = concat!("use socks_tower::{NameRules, ProxyConnector, Rules, ", stringify!($name), ", works::upstream::direct};")]
            ///
            /// let upstream = ProxyConnector::new("socks5h://proxy.example".parse()?, direct());
            #[doc = concat!("let proxy = ", stringify!($name), "::new()")]
            ///     .with_upstream(NameRules::new(Rules::new()), upstream)
            ///     .with_bind();
            /// # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
            /// # check(proxy);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[must_use]
            pub fn with_upstream<N, U>(mut self, rules: N, upstream: U) -> $name<C, A, R, Authorize<N, U>>
            where
                N: Authorizer<Target>,
                U: Connector<Request>,
            {
                self.parts.commands.upstream = Some(Upstream {
                    judge: AnyWork::of(rules.clone(), |permitted| permitted),
                    connector: AnyConnector::new(upstream.clone()),
                });
                $name::from_parts(self.parts, AuthorizeLayer::new(rules).layer(upstream))
            }

            /// Lets clients in by `authenticate`.
            #[must_use]
            pub fn with_auth(mut self, authenticate: AuthenticateLayer) -> Self {
                self.parts.authenticate = authenticate;
                self.rebuilt()
            }

            /// Bounds the time from accept to the request.
            #[must_use]
            pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
                self.parts.handshake = self.parts.handshake.with_timeout(timeout);
                self.rebuilt()
            }

            /// Has the last word on what a client hears when its request fails, as
            /// [`HandshakeLayer::with_reply`] has.
            #[must_use]
            pub fn with_reply(
                mut self,
                reply: impl Fn(&Error) -> Option<ReplyCode> + Send + Sync + 'static,
            ) -> Self {
                self.parts.handshake = self.parts.handshake.with_reply(reply);
                self.rebuilt()
            }

            /// Bounds the time from the request to the connection: look-up,
            /// rules and dial.
            #[must_use]
            pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
                self.parts.connect_timeout = timeout;
                self.rebuilt()
            }

            /// Carries bytes by `relay`, which has the timers of the tunnel.
            #[must_use]
            pub fn with_relay(mut self, relay: Relay) -> Self {
                self.parts.relay = relay;
                self.rebuilt()
            }

            /// Serves BIND too: see [`BindLayer`](crate::BindLayer), which has more
            /// to set. Resolver and rules are asked about peers.
            #[must_use]
            pub fn with_bind(self) -> Self {
                self.serving(Command::BIND)
            }

            /// Answers Tor's RESOLVE too, with what the resolver finds and the
            /// rules permit: see [`TorResolve`](crate::TorResolve).
            #[must_use]
            pub fn with_lookups(self) -> Self {
                self.serving(Command::RESOLVE)
            }

            /// Where BIND and UDP listen on a client's behalf, and what it is told
            /// of that. Nothing needs to be set where the machine has its addresses
            /// itself.
            #[must_use]
            pub fn with_listen_addrs(mut self, addrs: ListenAddrs) -> Self {
                self.parts.commands.listen = addrs;
                self.rebuilt()
            }

            fn serving(mut self, command: Command) -> Self {
                self.parts.commands.served.push(command);
                self.rebuilt()
            }
        }

        impl<Io, C, A, R, D> Service<Accepted<Io>> for $name<C, A, R, D>
        where
            Io: Stream,
            D: Connector<Request>,
            A: Authorizer<Pinned>,
            R: Resolver,
        {
            type Response = Transfer;
            type Error = Error;
            type Future = SocksFuture<Io, D::Io>;

            always_ready!();

            fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
                SocksFuture::new(self.stack.call(accepted))
            }
        }
    };
}

/// What SOCKS4 has no word for.
macro_rules! socks5_alone {
    ($name:ident) => {
        impl<C: Clone, A: Authorizer<Pinned>, R: Resolver, D: Connector<Request>>
            $name<C, A, R, D>
        {
            /// Serves UDP ASSOCIATE too: see [`UdpAssociate`](crate::UdpAssociate),
            /// which has more to set. Resolver and rules are asked about each
            /// destination.
            #[must_use]
            pub fn with_udp(self) -> Self {
                self.serving(Command::UDP_ASSOCIATE)
            }

            /// Answers Tor's RESOLVE_PTR too, with what the system finds and the
            /// rules permit: see [`TorResolvePtr`](crate::TorResolvePtr).
            #[cfg(feature = "reverse-lookup")]
            #[must_use]
            pub fn with_reverse_lookups(self) -> Self {
                self.serving(Command::RESOLVE_PTR)
            }
        }
    };
}

socks5_alone!(Socks);
socks5_alone!(Socks5);

ready_made! {
    /// A proxy for SOCKS4, SOCKS4a and SOCKS5 on one port.
    ///
    /// With users, SOCKS4 clients are refused: they have no password.
    ///
    /// ```no_run
    /// use socks_tower::{AuthenticateLayer, Server, Socks, Users};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let users = Users::new().with("joe", "secret")?;
    /// let proxy = Socks::new().with_auth(AuthenticateLayer::password(users));
    /// Server::bind("127.0.0.1:1080").await?.serve(proxy).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// All commands, and a limit on the tunnels of each user, which refuses with
    /// 02:
    ///
    #[cfg_attr(feature = "limit", doc = "```")]
    #[cfg_attr(not(feature = "limit"), doc = "```ignore")]
    /// use socks_tower::{ErrorKind, ReplyCode, Rules, Socks, middleware::LiveLimitLayer};
    ///
    /// let proxy = Socks::new()
    ///     .with_rules(Rules::new().permit_special("10.1.0.0/16".parse()?))
    ///     .with_connect_layer(LiveLimitLayer::per_identity(100))
    ///     .with_reply(|error| {
    ///         let full = error.kind() == ErrorKind::Limited;
    ///         full.then_some(ReplyCode::CONNECTION_NOT_ALLOWED)
    ///     })
    ///     .with_bind()
    ///     .with_udp()
    ///     .with_lookups();
    /// # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
    /// # check(proxy);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Socks, Versions::ALL
}

ready_made! {
    /// A proxy for SOCKS5 alone.
    ///
    /// ```no_run
    /// use socks_tower::{Server, Socks5};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// Server::bind("127.0.0.1:1080").await?.serve(Socks5::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    Socks5, Versions::SOCKS5
}

ready_made! {
    /// A proxy for SOCKS4 and SOCKS4a alone.
    ///
    /// ```no_run
    /// use socks_tower::{Server, Socks4};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// Server::bind("127.0.0.1:1080").await?.serve(Socks4::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    Socks4, Versions::SOCKS4
}
