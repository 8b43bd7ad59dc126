//! Who looks names up, and how.
//!
//! # The system, or DNS servers
//!
//! [`SystemResolver`](crate::SystemResolver) does what every program on the machine does,
//! and is what the ready-made proxies ask. It has a thread for each name that waits.
//! Clients share those, so that nobody keeps the others from theirs; but where they
//! choose the names and there are many of them, [`DnsResolver`](crate::DnsResolver) waits
//! for thousands without:
//!
//! ```
//! use socks_tower::{DnsResolver, Socks};
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // The servers of `/etc/resolv.conf`; or `DnsResolver::new(["192.0.2.53".parse()?])`.
//! let proxy = Socks::new().with_resolver(DnsResolver::system()?);
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok(())
//! # }
//! ```
//!
//! # Encrypted
//!
//! With the features `dns-over-tls` and `dns-over-https`, whoever carries the packets does
//! not see the names. Behind `#` is the name of the server's certificate:
//!
//! ```
//! use socks_tower::{DnsResolver, Socks};
//!
//! let resolver = DnsResolver::new(["tls://192.0.2.53#dns.example".parse()?]);
//! let proxy = Socks::new().with_resolver(resolver);
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Names of your own, and a cache
//!
//! A resolver is a work, and layers stand around it:
//! [`HostsLayer`](crate::HostsLayer) knows some names, and [`CacheLayer`](crate::CacheLayer)
//! remembers what a resolver without a cache answers. `DnsResolver` has one within.
//!
//! ```
//! use std::{net::IpAddr, time::Duration};
//! use socks_tower::{CacheLayer, DomainName, HostsLayer, Request, Socks};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! let database = service_fn(|asked: Request<DomainName>| async move {
//!     // `asked.session` says who wants to know.
//!     Err::<Vec<IpAddr>, _>(BoxError::from(format!("no {} here", asked.target)))
//! });
//! let resolver = ServiceBuilder::new()
//!     .layer(HostsLayer::new().with_host("db.internal".parse()?, ["192.0.2.7".parse()?]))
//!     .layer(CacheLayer::new().with_ttl(Duration::from_secs(60)))
//!     .service(database);
//! let proxy = Socks::new().with_resolver(resolver);
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # IPv6 that does not work
//!
//! A connection races the addresses of a name, so a family without a route costs little.
//! Where packets vanish, say which to use: [`Family`](crate::works::resolve::Family), by
//! `with_family` of both resolvers.
//!
//! # Whatever looks up, the rules judge
//!
//! They stand behind the resolver and see the addresses, those from a cache too.
//! [`works::resolve`](crate::works::resolve) says what clients hear of a lookup that fails.
