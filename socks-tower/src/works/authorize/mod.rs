//! Decides who may reach what, around a connector.
//!
//! [`AuthorizeLayer`] asks an authorizer before it calls the connector. It
//! stands inside [`ResolveLayer`](crate::ResolveLayer), where the addresses are
//! known. [`Rules`] is a ready-made authorizer: without being told anything, it
//! keeps clients away from this host, its networks and the cloud's metadata
//! service. Proxies that pass names on to another proxy have no addresses to
//! judge; [`NameRules`] is for them.
//!
//! # Example
//!
//! ```
//! use socks_tower::{AuthorizeLayer, ResolveLayer, Rules, SystemResolver, TcpConnector};
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! ```
//!
//! With rules, of which the first that matches decides:
//!
//! ```
//! use std::net::SocketAddr;
//! use socks_tower::{Command, Identity, Match, Pinned, Request, Rules, Session};
//! use tower::ServiceExt;
//!
//! # tokio_test::block_on(async {
//! let rules = Rules::new()
//!     .permit_special("10.1.0.0/16".parse()?)
//!     .deny(Match::any().domain("ads.example".parse()?))
//!     .allow(Match::any().identity("ann"))
//!     .allow(Match::any().port(443).network("10.1.2.0/24".parse()?))
//!     .deny_by_default();
//!
//! let connect = |session: &Session, to: &str| {
//!     let to: SocketAddr = to.parse().expect("an address");
//!     let request = Request::new(session.clone(), Command::CONNECT, Pinned::from(to));
//!     rules.clone().oneshot(request)
//! };
//! let anybody = Session::new();
//! assert!(connect(&anybody, "10.1.2.3:443").await.is_ok());
//! assert!(connect(&anybody, "10.1.2.3:22").await.is_err());
//!
//! let ann = Session::new().with_identity(Identity::new("ann"));
//! assert!(connect(&ann, "10.1.2.3:22").await.is_ok());
//! assert!(connect(&ann, "127.0.0.1:22").await.is_err()); // Nobody lifted that.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Groups
//!
//! A [`Group`] is networks, domains and hosts under one name. Rules share it,
//! for targets and for clients; a blocklist comes from a file of one entry in
//! each line. Logs say by which group a target was denied.
//!
//! ```
//! use socks_tower::{Group, Match, Rules};
//!
//! let office = Group::new("office").network("192.0.2.0/24".parse()?);
//! # let file = "*.ads.example\n198.51.100.0/24 # all of it\n";
//! # /*
//! let file = std::fs::read_to_string("ads.txt")?;
//! # */
//! let ads = Group::parse("ads", &file)?;
//!
//! let rules = Rules::new()
//!     .deny(Match::any().within(&ads))
//!     .allow(Match::any().client_in(&office))
//!     .deny_by_default();
//!
//! let error = Group::parse("ads", "*.ads.example\nhttp://ads.example/\n").unwrap_err();
//! assert_eq!(error.line(), 2); // Nothing is skipped.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # At some times only
//!
//! A [`Window`] is days of the week and times of day: in UTC, with an offset,
//! or, with the feature `time-zones`, where this machine is or in a named zone.
//! It is judged when a request is, not again: a tunnel outlives the window that
//! it was granted in, while a UDP association then reaches no destination that
//! is new to it. Tests set the clock. No layer is needed for days on which a proxy
//! is closed: a rule that denies [during](Match::during) them is one.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use socks_tower::{Command, Match, Pinned, Request, Rules, Session};
//! use tower::ServiceExt;
//!
//! # tokio_test::block_on(async {
//! let rules = Rules::new()
//!     .allow(Match::any().during("mon-fri 08:00-17:30 +01:00".parse()?))
//!     .deny_by_default();
//!
//! let monday = 1_795_392_000; // 2026-11-23 00:00 UTC
//! for (hour, passes) in [(6, false), (7, true), (16, true), (17, false)] {
//!     let now = UNIX_EPOCH + Duration::from_secs(monday + hour * 3600);
//!     let rules = rules.clone().with_clock(move || now);
//!     let to: std::net::SocketAddr = "192.0.2.1:443".parse()?;
//!     let request = Request::new(Session::new(), Command::CONNECT, Pinned::from(to));
//!     assert_eq!(rules.oneshot(request).await.is_ok(), passes);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Reloading
//!
//! [`ReloadRules`] are an authorizer and the handle to it: requests that come
//! after [`replace`](ReloadRules::replace) are judged by the new rules, tunnels
//! that live go on. It holds [`NameRules`] as well, and authorizers of your own.
//!
//! ```no_run
//! use socks_tower::{BoxError, Group, Match, ReloadRules, Rules, Server, Socks};
//!
//! fn read() -> Result<Rules, BoxError> {
//!     let ads = Group::parse("ads", &std::fs::read_to_string("/etc/proxy/ads.txt")?)?;
//!     Ok(Rules::new().deny(Match::any().within(&ads)))
//! }
//!
//! # #[cfg(unix)]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     use tokio::signal::unix::{SignalKind, signal};
//!
//!     let rules = ReloadRules::new(read()?);
//!     let proxy = Socks::new().with_rules(rules.clone());
//!     let mut hangups = signal(SignalKind::hangup())?;
//!     tokio::spawn(async move {
//!         while hangups.recv().await.is_some() {
//!             let rules = rules.clone();
//!             tokio::task::spawn_blocking(move || match read() {
//!                 Ok(new) => rules.replace(new),
//!                 Err(error) => eprintln!("the old rules stand: {error}"),
//!             });
//!         }
//!     });
//!     Server::bind("127.0.0.1:1080").await?.serve(proxy).await?;
//!     Ok(())
//! }
//! # #[cfg(not(unix))]
//! # fn main() {}
//! ```
//!
//! # Your own authorizer
//!
//! It is a `Service<Request<T>, Response = Request<T>>`: what it answers with
//! goes on to the connector, so it may also narrow the addresses, with
//! [`Pinned::retain`](crate::Pinned::retain). Several layers stack; all of them
//! must agree.
//!
//! ```
//! use socks_tower::{AuthorizeLayer, Pinned, Refusal, Request, Rules};
//! use tower::{ServiceBuilder, service_fn};
//!
//! let no_mail = service_fn(|request: Request<Pinned>| async move {
//!     if request.target.target().port == 25 {
//!         return Err(Refusal::not_allowed("no mail from here"));
//!     }
//!     Ok(request)
//! });
//! let both = ServiceBuilder::new()
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .layer(AuthorizeLayer::new(no_mail));
//! # let dial = service_fn(|_: Request<Pinned>| async { Ok::<_, Refusal>(tokio::io::duplex(1).0) });
//! # fn check(_: impl socks_tower::Connector<Request<Pinned>>) {}
//! # check(both.service(dial));
//! ```
//!
//! # Replies
//!
//! What the rules deny is 02, connection not allowed by ruleset; SOCKS4 says
//! 91. The log says why ([`Denied`]), the client does not hear it. An
//! authorizer chooses another reply with a [`Refusal`](crate::Refusal); any
//! other error means that it broke, which is 01. What clients hear of the rules'
//! own denials, [`HandshakeLayer::with_reply`](crate::HandshakeLayer::with_reply)
//! may change, and `HttpConnectLayer::with_response` (feature
//! `http-connect`).
//!
//! # What they cost
//!
//! Names are looked up by their labels, networks by a search in sorted
//! addresses, identities by a hash, and rules by one of their conditions: the
//! one that tells them best from others of identity, host and domain, network,
//! and client. Rules that have none of these, but groups, ports, commands and
//! windows alone, are read one by one, so let them be few.
//!
//! So ten thousand entries take at most 26 % more instructions than ten. They
//! take up to about twice the time, where each request is about another one of
//! them and memory is what it waits for. All of a judgement, of which
//! 660 instructions and 75 ns are there without rules (one thread of an AMD
//! EPYC, Rust 1.95, medians of seven runs):
//!
//! | entries | found | instructions: 10 | 10,000 | ns: 10 | 10,000 |
//! |---|---|---:|---:|---:|---:|
//! | IPv4 networks, one in a rule | any | 956 | 1,126 | 106 | 178 |
//! | IPv4 networks, one in a rule | none | 842 | 932 | 87 | 121 |
//! | IPv4 networks, all in a group | any | 990 | 1,160 | 107 | 155 |
//! | IPv4 networks, all in a group | none | 921 | 1,011 | 99 | 138 |
//! | IPv6 networks, one in a rule | any | 1,080 | 1,250 | 112 | 203 |
//! | IPv6 networks, one in a rule | none | 966 | 1,056 | 103 | 137 |
//! | IPv6 networks, all in a group | any | 1,053 | 1,223 | 110 | 154 |
//! | IPv6 networks, all in a group | none | 984 | 1,074 | 102 | 141 |
//! | domains, one in a rule | any | 2,080 | 2,080 | 157 | 237 |
//! | domains, one in a rule | none | 1,801 | 1,801 | 154 | 160 |
//! | domains, all in a group | any | 1,764 | 1,740 | 134 | 224 |
//! | domains, all in a group | none | 1,833 | 1,833 | 146 | 151 |
//! | identities, one in a rule | any | 1,054 | 1,054 | 96 | 180 |
//! | identities, one in a rule | none | 1,020 | 1,020 | 93 | 98 |
//! | identities, all in a rule | any | 1,009 | 1,009 | 95 | 166 |
//! | identities, all in a rule | none | 1,023 | 970 | 91 | 96 |
//!
//! The index is built at the first request, or by [`ReloadRules`] before it:
//! for ten thousand rules in 1 to 2 ms, and as long again for the rules.
//!
//! # What may surprise
//!
//! - Addresses are judged, not what they were called. A name that resolves to
//!   127.0.0.1 is denied, though a rule allows the name; of a name with several
//!   addresses those that pass are dialled, and no others, whatever the name
//!   resolves to a moment later.
//! - So rules do not compile around the resolver:
//!
//!   ```compile_fail
//!   # use socks_tower::{AuthorizeLayer, Connector, DomainName, Pinned, Refusal, Request, ResolveLayer, Rules};
//!   # use tower::{ServiceBuilder, service_fn};
//!   # let resolver = service_fn(|_: Request<DomainName>| async { Ok::<_, Refusal>([std::net::Ipv4Addr::LOCALHOST.into()]) });
//!   # let dial = service_fn(|_: Request<Pinned>| async { Ok::<_, Refusal>(tokio::io::duplex(1).0) });
//!   # fn check(_: impl Connector<Request>) {}
//!   let connector = ServiceBuilder::new()
//!       .layer(AuthorizeLayer::new(Rules::new())) // Knows no address yet.
//!       .layer(ResolveLayer::new(resolver))
//!       .service(dial);
//!   check(connector);
//!   ```
//!
//! - A rule about a name knows what the client called its target. One who gives
//!   the address instead gets past a denied name; to keep clients from a host,
//!   deny its network.
//! - The addresses of this host that are public are addresses like any other.
//!   If services listen there that a firewall keeps to this host, deny them.
//! - A network that translates IPv4 under an IPv6 prefix of its own (NAT64 by
//!   other than `64:ff9b::/96`, RFC 6052) makes IPv4 addresses look like any
//!   IPv6 address. Deny the prefix.
//! - The rules see BIND's expected peer as the target. `0.0.0.0` or `::`, which
//!   expects anybody, passes as if it were not special; the peer that then
//!   comes is another target, and judged as such. So does the request for a UDP
//!   association, where an upstream is asked for one: it has port 0 and names no
//!   destination.

mod denied;
mod index;
mod layer;
#[cfg(feature = "loop-guard")]
mod loop_guard;
mod permit;
mod rules;
mod service;
mod special;
mod window;

pub use denied::Denied;
pub use layer::AuthorizeLayer;
#[cfg(feature = "loop-guard")]
pub use loop_guard::{LoopGuard, LoopGuardFuture};
pub use permit::{Permit, PermitFuture};
pub use rules::{
    Group, GroupError, Match, NameRules, NameRulesFuture, ReloadRules, ReloadRulesFuture, RuleSet,
    Rules, RulesFuture,
};
pub use service::{Authorize, AuthorizeFuture};
pub use special::SpecialPurpose;
pub use window::{Window, WindowError};
