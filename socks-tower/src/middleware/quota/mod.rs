//! Limits how many bytes a client, a user, or all together may move in a
//! period: a day, a month.
//!
//! It comes with the feature `quota`.
//!
//! [`QuotaLayer`] stands between the stages, behind
//! [`AuthenticateLayer`](crate::AuthenticateLayer) and in front of
//! [`ConnectLayer`](crate::ConnectLayer) or [`ByCommand`](crate::ByCommand). Who has nothing left is refused; and a tunnel that uses up the last of it
//! ends there, with [`End::QuotaExceeded`](crate::End::QuotaExceeded). Bytes up
//! and bytes down count alike, and are counted when they are read.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, HandshakeLayer, Relay, Users,
//!     middleware::{MemoryQuota, QuotaLayer},
//! };
//! use tower::ServiceBuilder;
//! # use socks_tower::Request;
//! # use tokio::{io::duplex, net::TcpStream};
//! # use tower::service_fn;
//!
//! let day = Duration::from_secs(24 * 60 * 60);
//! # let connector = service_fn(|_: Request| async { Ok::<_, std::io::Error>(duplex(64).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::password(Users::new().with("joe", "secret")?))
//!     // 10 GB a day for each user, and 1 TB for all.
//!     .layer(QuotaLayer::per_identity(MemoryQuota::new(10_000_000_000, day)))
//!     .layer(QuotaLayer::overall(MemoryQuota::new(1_000_000_000_000, day)))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl tower::Service<socks_tower::Accepted<TcpStream>>) {}
//! # check(proxy);
//! # Ok::<(), socks_tower::UsersError>(())
//! ```
//!
//! # A fleet
//!
//! [`MemoryQuota`] counts in this process. A [`QuotaStore`] of your own counts in a
//! database that several proxies share. It is not asked for every read: the
//! tunnels of one client or user spend from a lease, 1 MiB unless set, and the
//! next is fetched before that is used up. What is left of a lease when the
//! last of these tunnels ends is given back.
//!
//! ```
//! use socks_tower::{BoxError, async_trait, middleware::{QuotaStore, QuotaKey, QuotaLayer}};
//!
//! # #[derive(Clone)] struct Database;
//! # impl Database {
//! #     async fn spend(&self, _: String, want: u64, _: u64) -> Result<u64, BoxError> { Ok(want) }
//! #     async fn refund(&self, _: String, _: u64) -> Result<(), BoxError> { Ok(()) }
//! # }
//! struct Shared(Database);
//!
//! #[async_trait]
//! impl QuotaStore for Shared {
//!     async fn take(&self, key: &QuotaKey, want: u64) -> Result<u64, BoxError> {
//!         // In one step: as much of `want` as is left of 10 GB.
//!         self.0.spend(format!("quota:{key}"), want, 10_000_000_000).await
//!     }
//!
//!     async fn give_back(&self, key: &QuotaKey, bytes: u64) -> Result<(), BoxError> {
//!         self.0.refund(format!("quota:{key}"), bytes).await
//!     }
//! }
//!
//! # let database = Database;
//! let layer = QuotaLayer::per_identity(Shared(database));
//! ```
//!
//! With the feature `redis` there is such a store,
//! `RedisQuota::new(&redis, "daily", 10_000_000_000, day)`:
//!
//! - Periods are those of Redis's clock, counted from 1970: days are those of UTC.
//! - No node holds more than a lease for a key, and that is what one that dies loses: it
//!   counts as used until the period ends. Nobody moves more than the quota. What is still
//!   leased when a period ends may be used in the next; and a question whose answer was
//!   late may count a lease that nobody has.
//! - While Redis does not answer, a node grants what was left when it last heard of the
//!   key, and of a key that is new to it the whole quota: so that is the most that each
//!   node can overspend. It tells Redis once that is back, and nobody is granted more
//!   before the period ends. With
//!   `Outage::Refuse` it fails instead, and that is the next chapter's.
//! - If Redis loses its data, quotas begin anew: have it keep them (`appendonly yes`).
//! - A quota is one key, `quota:NAME` after the prefix, which expires when its period ends.
//!   It has a million keys at most, some 120 MB; then the one that used least is forgotten.
//!
//! # Replies
//!
//! Over quota: `CONNECTION_NOT_ALLOWED` (02), SOCKS4's 91. A quota that fails,
//! or says nothing for 5 seconds, lets nobody in: general failure (01), 91.
//! Another reply is [`HandshakeLayer::with_reply`](crate::HandshakeLayer::with_reply)'s.
//! Tunnels that stand wait for it once their lease is used up; when it has
//! failed ten times in a row, a second apart, they end.
//!
//! # Cost and bounds
//!
//! A read takes, and gives back what it did not find, under a lock that the
//! tunnels of one key share; splicing goes on. A question to the quota for each
//! lease. An account for each key that has a session now, which a limit on
//! sessions bounds; [`MemoryQuota`] remembers 65,536 keys.

mod account;
mod key;
mod layer;
mod memory;
mod service;

use std::sync::Arc;

use async_trait::async_trait;

use crate::session::BoxError;

pub use key::QuotaKey;
pub use layer::QuotaLayer;
pub use memory::MemoryQuota;
pub use service::{Quota, QuotaFuture};

/// Knows how many bytes each key has left in this period. See the
/// [module's page](self).
#[async_trait]
pub trait QuotaStore: Send + Sync + 'static {
    /// Takes up to `want` bytes of what `key` has left; 0 if that is nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be told. Nobody is let in then.
    async fn take(&self, key: &QuotaKey, want: u64) -> Result<u64, BoxError>;

    /// Gives back `bytes` that were taken and not used.
    ///
    /// # Errors
    ///
    /// If they are lost, which is logged.
    async fn give_back(&self, key: &QuotaKey, bytes: u64) -> Result<(), BoxError>;
}

#[async_trait]
impl<Q: QuotaStore + ?Sized> QuotaStore for Arc<Q> {
    async fn take(&self, key: &QuotaKey, want: u64) -> Result<u64, BoxError> {
        Q::take(self, key, want).await
    }

    async fn give_back(&self, key: &QuotaKey, bytes: u64) -> Result<(), BoxError> {
        Q::give_back(self, key, bytes).await
    }
}
