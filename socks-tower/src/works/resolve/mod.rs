//! Turns names into addresses, around a connector.
//!
//! [`ResolveLayer`] takes a `Request<Target>` and hands on a
//! `Request<Pinned>`: the target with the addresses that it has. It stands
//! around the rules about addresses and the connector, which see those
//! addresses and may use no others. The resolver is a
//! `Service<Request<DomainName>, Response: IntoIterator<Item = IpAddr>>`: the
//! [`SystemResolver`], `DnsResolver` (feature `dns`), [`Hosts`] before it, [`Cache`]
//! around it, or one of your own. It is told who asks,
//! so limits of clients go around it too. A target that is an address already
//! passes without asking it.
//!
//! # Example
//!
//! ```
//! use std::net::Ipv4Addr;
//! use socks_tower::{AuthorizeLayer, DomainName, Request, ResolveLayer, Rules, TcpConnector};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! let resolver = service_fn(|asked: Request<DomainName>| async move {
//!     match asked.target.as_str() {
//!         "db.example.com" => Ok([Ipv4Addr::new(192, 0, 2, 7).into()]),
//!         _ => Err(BoxError::from("no such host")),
//!     }
//! });
//!
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(resolver))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//! # fn check(_: impl socks_tower::Connector<Request>) {}
//! # check(connector);
//! ```
//!
//! # Replies
//!
//! A name that has no address is 04, host unreachable, and so is whatever else a
//! resolver fails with, but for this: if nobody could tell (a
//! [`DialError`](crate::DialError), as within [`LookupError::Failed`]) it is 01,
//! general failure, and if there was no answer in time 06, TTL expired.

mod answer;
pub mod cache;
#[cfg(feature = "dns")]
pub mod dns;
mod error;
mod family;
pub mod hosts;
mod layer;
mod question;
mod service;
pub mod system;

pub use answer::Answer;
pub use cache::{Cache, CacheFuture, CacheLayer};
#[cfg(feature = "dns")]
pub use dns::{DnsResolver, DnsReverse, DnsReverseFuture, DnsServer, DnsServerError};
pub use error::LookupError;
pub use family::Family;
pub use hosts::{Hosts, HostsFuture, HostsLayer};
pub use layer::ResolveLayer;
pub(crate) use service::pin;
pub use service::{Resolve, ResolveFuture};
#[cfg(feature = "reverse-lookup")]
pub use system::ReverseResolver;
pub use system::{SystemResolver, SystemResolverFuture};
