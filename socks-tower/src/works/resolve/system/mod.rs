//! Looks names up as every other program on the machine does.
//!
//! This is the resolver to start with: `getaddrinfo`, and so `/etc/hosts`,
//! `resolv.conf` and `nsswitch.conf`, whatever they say.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use socks_tower::{Command, DomainName, Request, Session, SystemResolver};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let resolver = SystemResolver::new()
//!     .with_threads(16)
//!     .with_timeout(Duration::from_secs(3));
//!
//! let name = DomainName::new("localhost")?;
//! let addrs = resolver.oneshot(Request::new(Session::new(), Command::CONNECT, name)).await?;
//! assert!(addrs.iter().all(|addr| addr.is_loopback()));
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - `getaddrinfo` blocks, and nothing can interrupt it. It runs on threads of
//!   the resolver's own, which start when they are needed, end after ten
//!   seconds without work, and hold up neither the runtime nor the program
//!   when it ends.
//! - A lookup that is past its deadline, or whose caller has gone, is not begun
//!   any more; one that has begun keeps its thread until the system gives up
//!   (with `resolv.conf`'s defaults, 10 s for each name server).
//! - Clients share the threads. Each may have as many as are free besides, so one
//!   alone has half of them, two a third each, and a newcomer finds one as long as
//!   there are fewer clients than threads that ask for names in a dead zone. A
//!   client is an IPv4 address or an IPv6 /64, and what one has counts for its
//!   identity too. Those that wait have their turns.
//! - Lookups of the same name at once are one.
//! - `localhost` and all beneath it is loopback (RFC 6761), and `.onion` (RFC 7686)
//!   and `.invalid` have no address: nobody is asked.
//! - Nothing is cached here; that is the business of the system (`nscd`,
//!   `systemd-resolved`) or of a layer around this.
//! - A name without a dot gets the search domains of `resolv.conf`; a dot at
//!   its end prevents that.
//! - The addresses come in `getaddrinfo`'s order (RFC 6724), each one once,
//!   IPv4-mapped ones as IPv4, and no more than [`SystemResolver::MAX_ADDRS`].
//! - With the feature `reverse-lookup`, `SystemResolver::reverse` gives a
//!   service that finds the names of addresses.

#[cfg(feature = "reverse-lookup")]
mod reverse;

use std::{
    future::Future,
    io,
    net::{IpAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

#[cfg(feature = "reverse-lookup")]
pub use reverse::ReverseResolver;
use socks_core::{DomainName, Host};
use tower_service::Service;

use super::{Family, LookupError, question::Question};
use crate::session::{
    Request, always_ready, opaque_future,
    threads::{Asker, Limits, Pool, Rejected, STACK},
    timeout as timeout_of,
};

/// A resolver that asks the operating system; see the [module](self).
///
/// Cheap to clone; clones share their threads and their bounds.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    pool: Arc<Pool<Question, Vec<Host>>>,
    timeout: Duration,
    family: Family,
}

impl SystemResolver {
    /// 64 threads: enough for bursts, since a lookup that somebody's cache
    /// answers takes a millisecond or so, and few megabytes if all are used. One
    /// client alone gets half of them.
    pub const DEFAULT_THREADS: usize = 64;

    /// 32,768 lookups may wait for a thread, half of them one client's: whoever
    /// waits is told by its deadline, and takes less than its connection does.
    pub const DEFAULT_QUEUE: usize = 32_768;

    /// Five seconds, which is as long as `resolv.conf` by default gives one
    /// name server to answer.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// The most addresses that one lookup yields. A name may have thousands,
    /// and each would be judged by the rules.
    pub const MAX_ADDRS: usize = 64;

    /// A resolver with the default bounds. It has no threads before its first
    /// lookup.
    #[must_use]
    pub fn new() -> Self {
        Self::asking(ask)
    }

    fn asking(ask: impl Fn(&Host) -> io::Result<Vec<Host>> + Send + Sync + 'static) -> Self {
        let limits = Limits {
            name: "socks-resolver",
            threads: Self::DEFAULT_THREADS,
            queue: Self::DEFAULT_QUEUE,
            stack: STACK,
        };
        let ask = Arc::new(move |question: &Question| ask(question.host()));
        Self {
            pool: Arc::new(Pool::new(limits, ask)),
            timeout: Self::DEFAULT_TIMEOUT,
            family: Family::default(),
        }
    }

    /// How many lookups may run at a time, each on a thread of its own. With
    /// 0, nothing is looked up: [`LookupError::Overloaded`].
    ///
    /// Clones made before keep the bounds, and the threads, that they had.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.pool = Arc::new(self.pool.with_limits(|limits| Limits { threads, ..limits }));
        self
    }

    /// How many lookups may wait for a thread. One more than its part of them fails
    /// for a client at once with [`LookupError::Overloaded`].
    ///
    /// Clones made before keep the bounds, and the threads, that they had.
    #[must_use]
    pub fn with_queue(mut self, queue: usize) -> Self {
        self.pool = Arc::new(self.pool.with_limits(|limits| Limits { queue, ..limits }));
        self
    }

    /// How long a lookup may take, waiting for a thread included.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Which addresses to use, and which to try first.
    #[must_use]
    pub fn with_family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

/// The addresses are never none: a name without any is
/// [`LookupError::NotFound`]. Its future needs a runtime whose time is enabled,
/// of either flavour.
impl Service<Request<DomainName>> for SystemResolver {
    type Response = Vec<IpAddr>;
    type Error = LookupError;
    type Future = SystemResolverFuture<Vec<IpAddr>>;

    always_ready!();

    fn call(&mut self, request: Request<DomainName>) -> Self::Future {
        let asker = Asker::of(&request.session);
        let family = self.family;
        self.ask(asker, request.target.into(), move |found| {
            let addrs = found.into_iter().filter_map(|found| match found {
                Host::Ip(ip) => Some(ip),
                Host::Name(_) => None,
            });
            let mut addrs = addrs.collect();
            family.arrange(&mut addrs);
            addrs
        })
    }
}

impl SystemResolver {
    /// Asks for `asker`, and takes what it wants of the answer, which is never none.
    fn ask<T: Send + 'static>(
        &self,
        asker: Asker,
        question: Question,
        wanted: impl FnOnce(Vec<Host>) -> Vec<T> + Send + 'static,
    ) -> SystemResolverFuture<Vec<T>> {
        let pool = self.pool.clone();
        let timeout = self.timeout;
        SystemResolverFuture::new(Box::pin(async move {
            let host = question.host().clone();
            let answer = match question.known() {
                Some(known) => Ok(known.iter().copied().map(Host::Ip).collect()),
                None => match pool.submit(&asker, question) {
                    Ok(pending) => match timeout_of(timeout, pending).await {
                        Ok(answer) => answer,
                        Err(source) => {
                            return Err(LookupError::TimedOut {
                                host,
                                timeout,
                                source,
                            });
                        }
                    },
                    Err(Rejected::Overloaded(limit)) => {
                        let source = io::ErrorKind::ResourceBusy.into();
                        return Err(LookupError::Overloaded {
                            host,
                            limit,
                            source,
                        });
                    }
                    Err(Rejected::NoThread(source)) => {
                        return Err(LookupError::NoThread { host, source });
                    }
                },
            };
            let found: Vec<_> = match answer {
                Ok(found) => wanted(found),
                Err(source) => return Err(LookupError::from_system(host, source)),
            };
            if found.is_empty() {
                return Err(LookupError::not_found(host));
            }
            Ok(found)
        }))
    }
}

type BoxLookup<T> = Pin<Box<dyn Future<Output = Result<T, LookupError>> + Send>>;

opaque_future! {
    /// The future of [`SystemResolver`]. Dropping it withdraws the lookup, if
    /// that has not begun.
    SystemResolverFuture<T> -> Result<T, LookupError> = BoxLookup<T>
}

fn ask(host: &Host) -> io::Result<Vec<Host>> {
    match host {
        Host::Name(name) => getaddrinfo(name),
        #[cfg(feature = "reverse-lookup")]
        Host::Ip(ip) => reverse::getnameinfo(*ip),
        #[cfg(not(feature = "reverse-lookup"))]
        Host::Ip(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "runs on the resolver's own threads alone"
)]
fn getaddrinfo(name: &DomainName) -> io::Result<Vec<Host>> {
    let found = (name.as_str(), 0).to_socket_addrs()?;
    let found = distinct(found.map(|addr| addr.ip()));
    Ok(found.into_iter().map(Host::Ip).collect())
}

/// Each address once, in order, v4-mapped forms undone, and not too many.
fn distinct(found: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addrs = Vec::new();
    for addr in found {
        let addr = addr.to_canonical();
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
        if addrs.len() == SystemResolver::MAX_ADDRS {
            break;
        }
    }
    addrs
}

#[cfg(test)]
mod tests;
