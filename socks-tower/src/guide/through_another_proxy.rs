//! Through another proxy: one, several in a row, or one of many.
//!
//! To a stack, another proxy is a connector like any other. What reaches targets
//! directly is this:
//!
//! ```
//! use socks_tower::{AuthorizeLayer, ResolveLayer, Rules, SystemResolver, TcpConnector};
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new())) // names -> addresses
//!     .layer(AuthorizeLayer::new(Rules::new()))        // judges addresses
//!     .service(TcpConnector::new());
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! ```
//!
//! # One proxy
//!
//! A proxy that looks names up is told names, so nothing stands around it that wants
//! addresses:
//!
//! ```
//! use socks_tower::{AuthorizeLayer, NameRules, ProxyConnector, Rules, works::upstream::direct};
//! use tower::ServiceBuilder;
//!
//! let url = "socks5h://joe:secret@proxy.example:1080".parse()?;
//! let connector = ServiceBuilder::new()
//!     .layer(AuthorizeLayer::new(NameRules::new(Rules::new()))) // judges names
//!     .service(ProxyConnector::new(url, direct()));
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A ready-made proxy looks names up itself, and its rules judge the addresses that the
//! other proxy is told:
//!
//! ```
//! use socks_tower::{ProxyConnector, Socks, works::upstream::direct};
//!
//! let url = "http://proxy.example:8080".parse()?;
//! let proxy = Socks::new().with_connector(ProxyConnector::new(url, direct()));
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`works::upstream`](crate::works::upstream) has the connectors, each protocol's and
//! from a URL, and says what a client hears when the proxy fails.
//!
//! # Several in a row
//!
//! The connector within another one reaches its proxy:
//!
//! ```
//! use socks_tower::{HttpConnector, Socks4Connector, Socks5Connector, works::upstream::direct};
//!
//! let first = Socks5Connector::new("192.0.2.1:1080".parse()?, direct());
//! let second = HttpConnector::new("second.example:8080".parse()?, first);
//! let connector = Socks4Connector::new("third.example:1080".parse()?, second);
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The first proxy looks up `second.example`, the second one `third.example`, and the
//! third whatever a client asks for. The kernel carries the bytes of a tunnel through
//! plain TCP, however many there are in a row.
//!
//! # One of many
//!
//! ```
//! use std::time::Duration;
//!
//! use socks_tower::{
//!     ProxyConnector, UpstreamPool, Users,
//!     stages::authenticate::SplitName,
//!     works::{pool::Sticky, upstream::direct},
//! };
//!
//! let upstream = |url: &str| {
//!     let upstream = ProxyConnector::new(url.parse()?, direct());
//!     Ok::<_, socks_tower::BoxError>(upstream.with_timeout(Duration::from_secs(4)))
//! };
//! let pool = UpstreamPool::new()
//!     .with_upstream("tokyo", upstream("socks5h://tokyo.example")?)
//!     .with_upstream("osaka", upstream("http://osaka.example:8080")?)
//!     .with_timeout(Duration::from_secs(10)) // for all tries; each has half of it
//!     .with_sticky(Sticky::suffix());
//!
//! // `joe-session-abc` is Joe, and all that he calls `abc` keeps to one upstream.
//! let verifier = SplitName::new("-session-", Users::new().with("joe", "secret")?);
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(pool);
//! # let _ = socks_tower::AuthenticateLayer::password(verifier);
//! # Ok::<(), socks_tower::BoxError>(())
//! ```
//!
//! A request goes on to another upstream where one fails, and those that fail again and
//! again are left alone for a while. [`works::pool`](crate::works::pool) says what counts
//! as a failure, and has probes and upstreams that come and go.
//!
//! A pool may reach the first proxy of a chain, or have chains in it. What a proxy cannot
//! do, as SOCKS4 has no IPv6, goes to a member that can.
//!
//! # Some targets this way, others that way
//!
//! ```
//! use socks_tower::{
//!     AuthorizeLayer, Match, ProxyConnector, ResolveLayer, Routes, Rules, SystemResolver,
//!     TcpConnector,
//!     works::upstream,
//! };
//! use tower::ServiceBuilder;
//!
//! let direct = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//! let tor = ProxyConnector::new("socks5h://127.0.0.1:9050".parse()?, upstream::direct());
//!
//! let connector = Routes::new(direct)
//!     .deny(Match::any().domain("ads.example".parse()?))
//!     .to(Match::any().domain("onion".parse()?), tor.clone())
//!     .to(Match::any().identity("ann").port(443), tor);
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The first match decides, in the words of [`Rules`](crate::Rules).
//! [`works::routes`](crate::works::routes) says more.
//!
//! # What rules can no longer see
//!
//! Whoever looks a name up knows where it leads, and nobody before. Behind a proxy that is
//! told names,
//!
//! - rules and routes about networks are about those who ask for an address, and hold for
//!   no name;
//! - a name may lead to the networks of the proxy that looks it up, and only that one can
//!   forbid it;
//! - a name that resolves differently a moment later is that proxy's affair, too.
//!
//! What is judged still, by [`NameRules`](crate::NameRules) and on every route: an address,
//! in every spelling that somebody may read as one (`0x7f.1`, `2130706433`,
//! `::ffff:127.0.0.1`); `localhost` and other local names; names that are not plain, which
//! another reader may take for an address.
//!
//! Where that is not enough, look names up here: with
//! [`ResolveLayer`](crate::ResolveLayer) and [`Rules`](crate::Rules) around the connector,
//! a pool too, the proxy is told an address that has passed. That costs a look-up by this machine, and
//! tells its resolver what clients ask for.
//!
//! The proxies themselves are the operator's own: no rule judges the way to them.
//!
//! # BIND and UDP
//!
//! A ready-made proxy sends all that it serves through one proxy, or a pool or routes of
//! some:
//!
//! ```
//! use socks_tower::{NameRules, ProxyConnector, Rules, Socks, works::upstream::direct};
//!
//! let upstream = ProxyConnector::new("socks5h://proxy.example".parse()?, direct());
//! let proxy = Socks::new()
//!     .with_upstream(NameRules::new(Rules::new()), upstream)
//!     .with_udp()
//!     .with_bind();
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a stack of one's own, these stand behind [`ByCommand`](crate::ByCommand):
//!
//! ```
//! use socks_tower::{
//!     AuthorizeLayer, BindLayer, ByCommand, ConnectLayer, NameRules, ProxyConnector, Relay,
//!     Rules, UdpAssociate, works::upstream::direct,
//! };
//! use tower::{Layer, ServiceBuilder};
//!
//! let rules = NameRules::new(Rules::new());
//! let upstream = ProxyConnector::new("socks5h://proxy.example".parse()?, direct());
//! let connector = ServiceBuilder::new()
//!     .layer(AuthorizeLayer::new(rules.clone()))
//!     .service(upstream.clone());
//! let commands = ByCommand::new()
//!     .connect(ConnectLayer::new(connector).layer(Relay::new()))
//!     .bind(BindLayer::through(rules.clone(), upstream.clone()).layer(Relay::new()))
//!     .udp_associate(UdpAssociate::through(rules, upstream));
//! # let _ = commands;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules judge each destination and each peer, as clients name them. A
//! [`Judge`](crate::Judge) in their place looks names up, and the upstream is told
//! addresses.
//!
//! UDP goes through SOCKS5, BIND through SOCKS5 and SOCKS4. What cannot says 07, and in a
//! mixed pool they go to a member that can. An association goes one way with all its
//! datagrams, which is chosen before their destinations are known:
//! [`stages::udp`](crate::stages::udp#through-another-proxy) says more.
//!
//! [`UdpAssociate::new`](crate::UdpAssociate::new) and
//! [`BindLayer::new`](crate::BindLayer::new) leave from this machine, whatever CONNECT goes
//! through. Where nothing may, do not serve them.
//!
//! # Under a client
//!
//! A program that asks for itself needs no stack: with the feature `hyper`, the connectors
//! are those of hyper-util's and tonic's clients
//! ([`works::upstream`](crate::works::upstream#for-hyper)), and
//! [`EnvConnector`](crate::works::upstream::EnvConnector) goes the way that `ALL_PROXY` says.
//!
//! reqwest makes its connections itself. It can be told a proxy, and that may be a
//! stack of ours in the same process, on loopback and with a password that nobody else
//! has; behind it are chains, pools and routes:
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, Connector, HandshakeLayer, Relay, Request, Server, Users,
//! };
//! use tower::ServiceBuilder;
//!
//! /// The URL to give to `reqwest::Proxy::all`.
//! async fn near(connector: impl Connector<Request>) -> Result<String, Box<dyn std::error::Error>> {
//!     let secret = "…"; // of this process: random
//!     let stack = ServiceBuilder::new()
//!         .layer(HandshakeLayer::new())
//!         .layer(AuthenticateLayer::password(Users::new().with("me", secret)?))
//!         .layer(ConnectLayer::new(connector))
//!         .service(Relay::new());
//!     let server = Server::bind("127.0.0.1:0").await?;
//!     let url = format!("socks5h://me:{secret}@{}", server.local_addr());
//!     tokio::spawn(server.serve(stack));
//!     Ok(url)
//! }
//! # let _ = near(socks_tower::works::upstream::direct());
//! ```
