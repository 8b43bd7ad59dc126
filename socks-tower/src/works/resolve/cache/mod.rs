//! Remembers what a resolver answers.
//!
//! `DnsResolver` has one within. Put it around any
//! other that asks for more than memory: a database, the system.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{CacheLayer, ResolveLayer, SystemResolver, TcpConnector};
//! use tower::ServiceBuilder;
//!
//! let resolver = ServiceBuilder::new()
//!     .layer(CacheLayer::new().with_ttl(Duration::from_secs(60)))
//!     .service(SystemResolver::new());
//! let connector = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(resolver))
//!     .service(TcpConnector::new());
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! ```
//!
//! # What to know
//!
//! - An [`Answer`] says for how long it holds, and a [`LookupError::NotFound`] may; for
//!   others, such as the system's, [`CacheLayer::with_ttl`] does. What holds for no time
//!   is not kept.
//! - That a lookup failed, or took too long, is kept for a second, so that a crowd does
//!   not ask what has just failed. Other errors are not kept.
//! - What is kept is judged by the rules each time: they stand behind the resolver.
//! - It is bounded: what would be forgotten first makes room. Names are the clients'
//!   choice, so whoever fills it costs the others' names a lookup, and no more.
//! - Lookups of the same name at once are not joined here: a slow one of somebody
//!   else's would hold up yours. `SystemResolver` and `DnsResolver` do it themselves.
//! - Clones share what they know; each use of the layer begins with nothing.
//!
//! # Stale answers
//!
//! With [`CacheLayer::with_stale`] an answer is kept for longer than it holds, for when
//! the servers are down (RFC 8767). It is given if a lookup fails, or takes longer than
//! 1.8 seconds, and then at once for the next 30 seconds. The lookup goes on meanwhile. A
//! name that is found not to exist any more is gone.
//!
//! # Metrics
//!
//! With the feature `metrics`, `socks_resolver_cache_total` counts what it was asked,
//! by `result`: `hit`, `stale` or `miss`.
//!
//! [`Answer`]: crate::works::resolve::Answer
//! [`LookupError::NotFound`]: crate::works::resolve::LookupError::NotFound

mod layer;
mod service;
mod store;

pub use layer::CacheLayer;
pub use service::{Cache, CacheFuture};
#[cfg(feature = "dns")]
pub(super) use store::Store;
