//! Many upstream proxies as one connector.
//!
//! It comes with the feature `upstream-pool`.
//!
//! [`UpstreamPool`] is a connector over any connectors: for each request it takes one of
//! them, by load or by a key that keeps to it, goes on to another where one fails, and
//! leaves alone for a while those that fail again and again.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use socks_tower::{
//!     AuthorizeLayer, NameRules, ProxyConnector, ProxyUrl, Rules, Target,
//!     works::{pool::{Sticky, UpstreamPool}, upstream::direct},
//! };
//! use tower::ServiceBuilder;
//!
//! # async fn run() -> Result<(), socks_tower::BoxError> {
//! let mut pool = UpstreamPool::new()
//!     .with_timeout(Duration::from_secs(10))
//!     .with_sticky(Sticky::client()); // A client keeps to one of them.
//! for url in ["socks5h://joe:secret@tokyo.example", "socks5h://osaka.example:1081"] {
//!     let url: ProxyUrl = url.parse()?;
//!     let name = url.to_string(); // Without the password.
//!     let upstream = ProxyConnector::new(url, direct()).with_timeout(Duration::from_secs(4));
//!     pool = pool.with_upstream(name, upstream);
//! }
//!
//! // Whether they serve, asked every 15 seconds.
//! let (probed, target) = (pool.clone(), "example.com:443".parse::<Target>()?);
//! tokio::spawn(async move { probed.probe(target, Duration::from_secs(15)).await });
//!
//! // No address is known of what is passed on by name: rules about names.
//! let connector = ServiceBuilder::new()
//!     .layer(AuthorizeLayer::new(NameRules::new(Rules::new())))
//!     .service(pool);
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! # Ok(())
//! # }
//! ```
//!
//! # Which upstream
//!
//! Of two at random, the one with fewer tunnels (the power of two choices). A tunnel
//! counts from its first try until it ends, so one that is slow to connect is taken
//! less often. With [`Sticky`], a client, an identity or a part of a user name keeps to
//! one, while that is in.
//!
//! It is not tower's `Balance`: that chooses before it sees the request, so that nothing
//! could keep to one nor go on to another; and where none is left, it waits for ever.
//! What tower calls `Discover` adds upstreams and takes them away here, too:
//! [`UpstreamPool::follow`].
//!
//! # What a failure is
//!
//! | an upstream | another is tried | counts against it |
//! |---|---|---|
//! | cannot be reached, does not let us in, fails in a way of its own | yes | yes |
//! | does not answer in time, breaks the protocol, hangs up | one | if the other connects, and it has served nobody meanwhile |
//! | says 01, 03, 04 or 06 of the target, or dials it itself and fails | one | no |
//! | says 07 or 08: it cannot do that; a limit of its own is reached | yes | no |
//! | says anything else of the target, 05 among it; rules in front of it deny it | no | no |
//!
//! So nobody puts an upstream out by asking for targets that do not exist, or that answer
//! some upstreams and not others, while others are served. Nothing of the
//! client's has been sent by then, so a try is lost without loss. UDP and BIND go to a
//! member that can, as all others say 07.
//!
//! The [time-out](UpstreamPool::with_timeout) is for all tries together, and one of
//! several has half of it. One that fails counts for the [`Breaker`]; one that is alone
//! is not tried twice. Give each connector a time-out of its own that is shorter, and
//! the client hears whether it was the upstream or the target that did not answer.
//!
//! # Replies
//!
//! What the upstream says of the target; 06 if it did not answer in time; 01 if there is
//! none left, at once.

mod blame;
mod breaker;
mod error;
mod members;
mod probe;
mod service;
mod sticky;
#[cfg(test)]
mod tests;

use std::{fmt::Display, pin::pin, sync::Arc, time::Duration};

use tower::discover::{Change, Discover};

pub use breaker::Breaker;
pub use error::PoolError;
use members::Members;
pub use service::UpstreamPoolFuture;
pub use sticky::Sticky;

/// Many connectors as one, and the handle to them: clones have the same upstreams. See
/// the [module's page](self).
#[derive(Debug)]
pub struct UpstreamPool<C> {
    members: Arc<Members<C>>,
    timeout: Duration,
    breaker: Breaker,
    sticky: Option<Sticky>,
}

/// An upstream of a pool, as it was when [`UpstreamPool::upstreams`] was called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its tunnels, and tries for some.
    pub live: usize,
    /// Whether it has failed and is left alone.
    pub is_out: bool,
}

impl<C> UpstreamPool<C> {
    /// A pool without upstreams.
    #[must_use]
    pub fn new() -> Self {
        Self {
            members: Arc::new(Members::new()),
            timeout: Duration::from_secs(10),
            breaker: Breaker::new(),
            sticky: None,
        }
    }

    /// Adds an upstream. The log calls it `name`: leave passwords out.
    #[must_use]
    pub fn with_upstream(self, name: impl Into<Arc<str>>, connector: C) -> Self {
        self.insert(name, connector);
        self
    }

    /// Bounds the time that all tries for a request have together: 10 seconds, unless
    /// set. One of several has half of it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When an upstream that fails is left alone.
    #[must_use]
    pub fn with_breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// What keeps to one upstream. Without it, load alone decides.
    #[must_use]
    pub fn with_sticky(mut self, sticky: Sticky) -> Self {
        self.sticky = Some(sticky);
        self
    }

    /// Adds an upstream to all clones, in the place of one of the same name, whose
    /// tunnels live on.
    pub fn insert(&self, name: impl Into<Arc<str>>, connector: C) {
        self.members.insert(name.into(), connector);
    }

    /// Takes an upstream from all clones. Its tunnels live on.
    pub fn remove(&self, name: &str) {
        self.members.remove(name);
    }

    /// Adds and removes what `discover` finds, until it ends: spawn it. A key's text is
    /// the upstream's name.
    ///
    /// # Errors
    ///
    /// Those of `discover`; the upstreams stay as they are.
    pub async fn follow<D>(&self, discover: D) -> Result<(), D::Error>
    where
        D: Discover<Service = C>,
        D::Key: Display,
    {
        let mut discover = pin!(discover);
        loop {
            let change = std::future::poll_fn(|cx| discover.as_mut().poll_discover(cx)).await;
            match change.transpose()? {
                Some(Change::Insert(key, connector)) => self.insert(key.to_string(), connector),
                Some(Change::Remove(key)) => self.remove(&key.to_string()),
                None => return Ok(()),
            }
        }
    }

    /// How the upstreams do, in the order in which they were added.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        let list = self.members.snapshot();
        let health = list.iter().map(|member| &member.health);
        let status = health.map(|health| UpstreamStatus {
            name: Arc::clone(health.name()),
            live: health.live(),
            is_out: health.is_out(),
        });
        status.collect()
    }
}

impl<C> Default for UpstreamPool<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Clone for UpstreamPool<C> {
    fn clone(&self) -> Self {
        Self {
            members: Arc::clone(&self.members),
            timeout: self.timeout,
            breaker: self.breaker,
            sticky: self.sticky.clone(),
        }
    }
}
