//! State that several nodes share, on Redis.
//!
//! It comes with the feature `redis`.
//!
//! A [`Redis`] is the link of one node to the server. Whatever is counted there is
//! given a clone of it. [`RedisLimitsLayer`] counts connections: how many are live, and
//! how many are new, of all nodes together.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Relay, ResolveLayer, Rules,
//!     SystemResolver, TcpConnector, Users,
//!     middleware::{Rate, Redis, RedisLimitsLayer, redis::{By, Outage}},
//! };
//! use tower::ServiceBuilder;
//!
//! let redis = Redis::open("redis://:secret@127.0.0.1/0")?
//!     .with_node("a")
//!     .with_deadline(Duration::from_millis(100))
//!     .when_gone(Outage::CountAlone);
//!
//! let connector = ServiceBuilder::new()
//!     .layer(
//!         RedisLimitsLayer::new(&redis)
//!             .with_rate("new", Rate::per_second(100), By::identity())
//!             .with_live("tunnels", 50, By::identity())
//!             .with_live("all", 100_000, By::overall()),
//!     )
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//! let users = Users::new().with("joe", "secret")?;
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::password(users))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Before it serves, a program may [`connect`](Redis::connect), so that no client waits for
//! that; when it has drained, it should [`close`](Redis::close).
//!
//! # Limits
//!
//! A [`RedisLimitsLayer`] stands where a [`LiveLimitLayer`](super::LiveLimitLayer) does,
//! between the stages or around a connector, and says what that says:
//! [`Limited`](super::Limited). It has any number of limits, and asks about all of them
//! at once: a connection is one round trip, and none if no limit has a key for it. Either
//! all limits count it, or none does.
//!
//! The node asks itself first. It counts as a [`LiveLimitLayer`](super::LiveLimitLayer)
//! and a [`RateLimitLayer`](super::RateLimitLayer) would, and what it would refuse by
//! these alone Redis is not asked. Who is over a limit waits for nothing: there is no
//! `with_wait`.
//!
//! ## Live connections
//!
//! Redis has for each key how many connections each node has, and until when. That is a
//! lease: a node renews all of its own, in a few calls, at each third of
//! [`with_lease`](RedisLimitsLayer::with_lease), and those of a node that is gone lapse.
//! While Redis answers there is never one more than may be, with these exceptions: a
//! process that stops for longer than its lease, and then goes on, still has its
//! connections, while others may have taken their places; and a Redis that has lost what
//! it knew knows it again when each node has connected to it, which is within a second.
//!
//! The end of a connection is told, and nobody waits for that. If it is not heard, the
//! next renewal says so. A client that does not wait for the answer takes no place for
//! longer than that.
//!
//! ## Rates
//!
//! They are counted by GCRA, by Redis's clock. If Redis forgets, no node lets more in
//! than the rate alone allows.
//!
//! # When Redis is slow or gone
//!
//! No question waits longer than [`with_deadline`](Redis::with_deadline). The first
//! that is not answered within it puts the link out of use: those that follow are not
//! asked, until Redis has answered again. Then a node goes on by what it has counted
//! itself, or refuses ([`when_gone`](Redis::when_gone)): a limit of 50 is one of 50 for
//! each node then. What came in meanwhile is told when Redis is back, and counts. A
//! server that answers, but does not take writes (it is a replica, is full, is loading),
//! is as good as gone.
//!
//! The link connects by itself, at the first question, and again and again when it was
//! lost, each second at least. It logs once when Redis goes, once if it is there and
//! refuses, and once when it is back; [`numbers`](Redis::numbers) counts, and so do, with
//! feature `metrics`:
//!
//! | name | type | what |
//! |---|---|---|
//! | `socks_redis_questions_total` | counter | questions, the link's own too |
//! | `socks_redis_unanswered_total` | counter | those without an answer in time, and those that were not put, as Redis was gone |
//! | `socks_redis_outages_total` | counter | how often Redis went |
//! | `socks_redis_up` | gauge | 1 while Redis answers, 0 while it does not |
//!
//! # What Redis must be
//!
//! Version 6 or later, or Valkey, as one primary: a cluster serves if all keys share
//! a slot, which they do. Let it evict nothing (`maxmemory-policy noeviction`): what it
//! forgets is not counted. Nodes need no clocks that agree; Redis's is used throughout.
//! Who can write to it can lift all limits: let it have a password, and listen to the
//! nodes alone. Its URL has that password: it is neither logged nor printed.
//!
//! # What is in it
//!
//! All keys begin with the [prefix](Redis::with_prefix) in braces, and all expire:
//!
//! | key | what | expires |
//! |---|---|---|
//! | `{socks}:node:NODE` | a node that is connected, by its name and a random part | 15 s after it was heard of |
//! | `{socks}:live:NAME:KEY` | a hash: how many connections of `KEY` each node has | a lease after it was told of |
//! | `{socks}:rate:NAME:KEY` | when the bucket of `KEY` is full | then |
//! | `{socks}:quota:NAME` | what each key has used | when the period ends |
//! | `{socks}:sessions:NODE`, `{socks}:sessions` | the sessions of a node, and which nodes there are | 10 s after it was heard of |
//! | `{socks}:lockout:NAME:records`, `…:forgotten` | who failed how often, and is locked out until when | when all is forgotten, at the latest |
//!
//! # Cost and bounds
//!
//! A connection is one round trip, and its end a message that is told with others. With a
//! rate and a live limit, a new connection with its end is 17 to 23 allocations more, where
//! the same limits of one process are 4; and 5 system calls if it comes alone, 0.14 if 64 are
//! under way at a time, as they share the calls. Redis 7.0 works for some 30 µs on each
//! question. It renews 256 keys by one call.
//!
//! Strangers choose keys, and a node's own tables bound them: each limit asks Redis about
//! 65,536 keys at a time at most, unless set, of which some hundred bytes are kept here
//! and there; a newcomer beyond these is refused by the node. So there are no more keys in
//! Redis than that for each limit and node, and once as many of rates if all nodes restart.

mod limits;
mod link;
mod quota;
mod sessions;

pub use limits::{By, RedisLimits, RedisLimitsFuture, RedisLimitsLayer};
pub(crate) use link::{Line, Member, MemberFuture, Script, Unanswered, every};
pub use link::{Outage, Redis, RedisNumbers, RedisUrlError};
pub use quota::RedisQuota;
pub use sessions::{FleetSession, FleetSessions, NodeSessions};
