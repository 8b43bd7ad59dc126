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
//!   (with `resolv.conf`'s defaults, 10 s for each name server). Clients that
//!   ask for names in a dead zone can so keep all threads busy. Where they
//!   might, limit lookups per client, or use a resolver that speaks DNS itself.
//! - Nothing is cached here; that is the business of the system (`nscd`,
//!   `systemd-resolved`) or of a layer around this.
//! - A name without a dot gets the search domains of `resolv.conf`; a dot at
//!   its end prevents that.
//! - The addresses come in `getaddrinfo`'s order (RFC 6724), each one once,
//!   IPv4-mapped ones as IPv4, and no more than [`SystemResolver::MAX_ADDRS`].
//! - With the feature `reverse-lookup`, `SystemResolver::reverse` gives a
//!   service that finds the names of addresses.

mod error;
mod pool;
#[cfg(feature = "reverse-lookup")]
mod reverse;

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

pub use error::LookupError;
use pool::{Limits, Pool, Rejected};
#[cfg(feature = "reverse-lookup")]
pub use reverse::ReverseResolver;
use socks_core::{DomainName, Host};
use tower_service::Service;

use crate::session::{Request, always_ready, opaque_future, timeout as timeout_of};

/// Rust's own default. Modules of the system's resolver (LDAP, `systemd`) run on
/// it too; what they do not touch costs address space alone.
const STACK: usize = 2 * 1024 * 1024;

type Lookup = dyn Fn(&DomainName) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// A resolver that asks the operating system; see the [module](self).
///
/// Cheap to clone; clones share their threads and their bounds.
#[derive(Clone)]
pub struct SystemResolver {
    lookup: Arc<Lookup>,
    pool: Arc<Pool>,
    timeout: Duration,
}

impl SystemResolver {
    /// 64 threads: enough for bursts, since a lookup that somebody's cache
    /// answers takes a millisecond or so, and few megabytes if all are used.
    pub const DEFAULT_THREADS: usize = 64;

    /// 1,024 lookups may wait for a thread.
    pub const DEFAULT_QUEUE: usize = 1024;

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
        Self::with_lookup(getaddrinfo)
    }

    fn with_lookup(
        lookup: impl Fn(&DomainName) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        let limits = Limits {
            threads: Self::DEFAULT_THREADS,
            queue: Self::DEFAULT_QUEUE,
            stack: STACK,
        };
        Self {
            lookup: Arc::new(lookup),
            pool: Arc::new(Pool::new(limits)),
            timeout: Self::DEFAULT_TIMEOUT,
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

    /// How many lookups may wait for a thread. One more fails at once with
    /// [`LookupError::Overloaded`].
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
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver")
            .field("pool", &self.pool)
            .field("timeout", &self.timeout)
            .finish()
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
        let name = request.target;
        let lookup = self.lookup.clone();
        let host = name.clone().into();
        self.ask(host, move || lookup(&name))
    }
}

impl SystemResolver {
    /// Runs `lookup` on a thread. What it finds is never none.
    fn ask<T: Send + 'static>(
        &self,
        host: Host,
        lookup: impl FnOnce() -> io::Result<Vec<T>> + Send + 'static,
    ) -> SystemResolverFuture<Vec<T>> {
        let pool = self.pool.clone();
        let timeout = self.timeout;
        SystemResolverFuture::new(Box::pin(async move {
            let answer = match pool.submit(lookup) {
                Ok(answer) => answer,
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
            };
            match timeout_of(timeout, answer).await {
                Ok(Ok(Ok(found))) if found.is_empty() => Err(LookupError::NotFound { host }),
                Ok(Ok(Ok(found))) => Ok(found),
                Ok(Ok(Err(source))) => Err(LookupError::from_system(host, source)),
                // Cannot happen: a worker answers every lookup that somebody waits for.
                Ok(Err(gone)) => Err(LookupError::Failed {
                    host,
                    source: io::Error::other(gone),
                }),
                Err(_) => Err(LookupError::TimedOut { host, timeout }),
            }
        }))
    }
}

type BoxLookup<T> = Pin<Box<dyn Future<Output = Result<T, LookupError>> + Send>>;

opaque_future! {
    /// The future of [`SystemResolver`]. Dropping it withdraws the lookup, if
    /// that has not begun.
    SystemResolverFuture<T> -> Result<T, LookupError> = BoxLookup<T>
}

#[expect(
    clippy::disallowed_methods,
    reason = "runs on the resolver's own threads alone"
)]
fn getaddrinfo(name: &DomainName) -> io::Result<Vec<IpAddr>> {
    let found = (name.as_str(), 0).to_socket_addrs()?;
    Ok(distinct(found.map(|addr| addr.ip())))
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
