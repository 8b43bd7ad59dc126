//! Ready-made proxies: the layers of this crate in their usual order, with
//! safe defaults.

use std::time::Duration;

use socks_core::server::Versions;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    session::{
        Accepted, Authorizer, ClientStream, Connector, Error, Pinned, Request, Resolver, Stream,
        Transfer, always_ready, opaque_future,
    },
    stages::{
        authenticate::{Authenticate, AuthenticateFuture, AuthenticateLayer, NoAuth},
        connect::{Connect, ConnectFuture, ConnectLayer},
        handshake::{Handshake, HandshakeFuture, HandshakeLayer},
        relay::{Relay, RelayFuture},
    },
    works::{
        authorize::{Authorize, AuthorizeLayer, Rules},
        resolve::{Resolve, ResolveLayer, SystemResolver},
        tcp::TcpConnector,
    },
};

/// How long a connector may take, from the look-up to the connection, unless
/// set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type Dial<C, A, R> = Resolve<R, Authorize<A, C>>;
type Stack<C, A, R> = Handshake<Authenticate<Connect<Dial<C, A, R>, Relay>>>;

/// What a ready-made proxy is made of.
#[derive(Clone, Debug)]
struct Parts<C, A, R> {
    handshake: HandshakeLayer,
    authenticate: AuthenticateLayer,
    connect_timeout: Duration,
    resolver: R,
    authorizer: A,
    connector: C,
    relay: Relay,
}

impl<C: Connector<Request<Pinned>>, A: Authorizer<Pinned>, R: Resolver> Parts<C, A, R> {
    /// The stack that the module's pages show, in one place.
    fn stack(&self) -> Stack<C, A, R> {
        let authorize = AuthorizeLayer::new(self.authorizer.clone());
        let resolve = ResolveLayer::new(self.resolver.clone());
        let reach = resolve.layer(authorize.layer(self.connector.clone()));
        let connect = ConnectLayer::new(reach).with_timeout(self.connect_timeout);
        let authenticated = connect.layer(self.relay.clone());
        let greeted = self.authenticate.layer(authenticated);
        self.handshake.layer(greeted)
    }
}

opaque_future! {
    /// The future of [`Socks`], [`Socks5`] and [`Socks4`].
    SocksFuture<Io, Up> =
        HandshakeFuture<AuthenticateFuture<ConnectFuture<RelayFuture<ClientStream<Io>, Up>>>>
}

/// Declares one ready-made proxy.
macro_rules! ready_made {
    ($(#[$doc:meta])* $name:ident, $versions:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<C = TcpConnector, A = Rules, R = SystemResolver> {
            parts: Parts<C, A, R>,
            stack: Stack<C, A, R>,
        }

        impl $name {
            /// Lets everybody in, reaches what [`Rules::new`] lets through, and
            /// bounds negotiation and dial to 10 seconds each.
            #[must_use]
            pub fn new() -> Self {
                Self::from_parts(Parts {
                    handshake: HandshakeLayer::new().with_versions($versions),
                    authenticate: AuthenticateLayer::new(NoAuth),
                    connect_timeout: CONNECT_TIMEOUT,
                    resolver: SystemResolver::new(),
                    authorizer: Rules::new(),
                    connector: TcpConnector::new(),
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
            fn from_parts(parts: Parts<C, A, R>) -> Self {
                let stack = parts.stack();
                Self { parts, stack }
            }

            /// Lets clients in by `authenticate`.
            #[must_use]
            pub fn with_auth(mut self, authenticate: AuthenticateLayer) -> Self {
                self.parts.authenticate = authenticate;
                Self::from_parts(self.parts)
            }

            /// Looks names up by `resolver`.
            #[must_use]
            pub fn with_resolver<R2: Resolver>(self, resolver: R2) -> $name<C, A, R2> {
                let Parts { handshake, authenticate, connect_timeout, resolver: _, authorizer, connector, relay } = self.parts;
                $name::from_parts(Parts { handshake, authenticate, connect_timeout, resolver, authorizer, connector, relay })
            }

            /// Decides by `rules` who may reach what: [`Rules`], or any
            /// `Service<Request<Pinned>, Response = Request<Pinned>>`. The
            /// default denials are gone with the default rules.
            #[must_use]
            pub fn with_rules<A2: Authorizer<Pinned>>(self, rules: A2) -> $name<C, A2, R> {
                let Parts { handshake, authenticate, connect_timeout, resolver, authorizer: _, connector, relay } = self.parts;
                $name::from_parts(Parts { handshake, authenticate, connect_timeout, resolver, authorizer: rules, connector, relay })
            }

            /// Dials by `connector`, a `Service<Request<Pinned>>` that answers
            /// with a stream. Resolver and rules stay.
            #[must_use]
            pub fn with_connector<C2: Connector<Request<Pinned>>>(self, connector: C2) -> $name<C2, A, R> {
                let Parts { handshake, authenticate, connect_timeout, resolver, authorizer, connector: _, relay } = self.parts;
                $name::from_parts(Parts { handshake, authenticate, connect_timeout, resolver, authorizer, connector, relay })
            }

            /// Bounds the time from accept to the request.
            #[must_use]
            pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
                self.parts.handshake = self.parts.handshake.with_timeout(timeout);
                Self::from_parts(self.parts)
            }

            /// Bounds the time from the request to the connection: look-up,
            /// rules and dial.
            #[must_use]
            pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
                self.parts.connect_timeout = timeout;
                Self::from_parts(self.parts)
            }

            /// Carries bytes by `relay`, which has the timers of the tunnel.
            #[must_use]
            pub fn with_relay(mut self, relay: Relay) -> Self {
                self.parts.relay = relay;
                Self::from_parts(self.parts)
            }
        }

        impl<Io, C, A, R> Service<Accepted<Io>> for $name<C, A, R>
        where
            Io: Stream,
            C: Connector<Request<Pinned>>,
            A: Authorizer<Pinned>,
            R: Resolver,
        {
            type Response = Transfer;
            type Error = Error;
            type Future = SocksFuture<Io, C::Io>;

            always_ready!();

            fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
                SocksFuture::new(self.stack.call(accepted))
            }
        }
    };
}

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
