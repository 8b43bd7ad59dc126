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
//! # Your own authorizer
//!
//! It is a `Service<Request<T>, Response = Request<T>>`: what it answers with
//! goes on to the connector, so it may also narrow the addresses, with
//! [`Pinned::retain`](crate::Pinned::retain). Several layers stack; all of them
//! must agree.
//!
//! ```
//! use socks_tower::{AuthorizeLayer, Pinned, Refusal, ReplyCode, Request, Rules};
//! use tower::{ServiceBuilder, service_fn};
//!
//! let no_mail = service_fn(|request: Request<Pinned>| async move {
//!     if request.target.target().port == 25 {
//!         let code = ReplyCode::CONNECTION_NOT_ALLOWED;
//!         return Err(Refusal::new(code, "no mail from here"));
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
//! other error means that it broke, which is 01.
//!
//! # What they cost
//!
//! Values and rules are looked up, not read one by one: names by their labels,
//! networks by a search in sorted addresses, identities by a hash. Rules are
//! found by one of their conditions, the one that tells them best from others:
//! identity, host and domain, network or client. Rules that have none of these,
//! only ports and commands, are read one by one, so let them be few. The index
//! is built at the first request.
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
//!   # let resolver = service_fn(|_: DomainName| async { Ok::<_, Refusal>([std::net::Ipv4Addr::LOCALHOST.into()]) });
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
//!   comes is another target, and judged as such.

#[cfg(test)]
mod agreement;
mod clock;
mod denied;
mod facts;
mod group;
mod host_names;
mod index;
mod layer;
#[cfg(feature = "loop-guard")]
mod loop_guard;
mod matches;
mod names;
mod networks;
mod permit;
mod policy;
mod reload;
mod rules;
mod service;
mod special;
mod values;
mod window;

pub use denied::Denied;
pub use group::{Group, GroupError};
pub use layer::AuthorizeLayer;
#[cfg(feature = "loop-guard")]
pub use loop_guard::LoopGuard;
pub use matches::Match;
pub use names::NameRules;
pub use permit::Permit;
pub use reload::{ReloadRules, RuleSet};
pub use rules::Rules;
pub use service::{Authorize, AuthorizeFuture};
pub use special::{SpecialPurpose, special_purpose};
pub use window::{Window, WindowError};
