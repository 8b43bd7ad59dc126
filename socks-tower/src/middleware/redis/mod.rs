//! State that several nodes share, on Redis.
//!
//! It comes with the feature `redis`.
//!
//! A [`Redis`] is the link of one node to the server. Whatever is counted there is
//! given a clone of it.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::middleware::redis::{Outage, Redis};
//!
//! let redis = Redis::open("redis://:secret@127.0.0.1/0")?
//!     .with_node("a")
//!     .with_deadline(Duration::from_millis(100))
//!     .when_gone(Outage::CountAlone);
//! # Ok::<(), socks_tower::middleware::redis::RedisUrlError>(())
//! ```
//!
//! # When Redis is slow or gone
//!
//! No question waits longer than [`with_deadline`](Redis::with_deadline). The first
//! that is not answered within it puts the link out of use: those that follow are not
//! asked, until Redis has answered again. Then a node goes on by what it has counted
//! itself, or refuses ([`when_gone`](Redis::when_gone)). A server that answers, but does
//! not take writes (it is a replica, is full, is loading), is as good as gone.
//!
//! The link connects by itself, at the first question, and again and again when it was
//! lost, each second at least. It logs once when Redis goes, and once when it is back;
//! [`numbers`](Redis::numbers) counts, and so do, with feature `metrics`:
//!
//! | name | type | what |
//! |---|---|---|
//! | `socks_redis_questions_total` | counter | questions, put or not |
//! | `socks_redis_unanswered_total` | counter | those without an answer in time |
//! | `socks_redis_outages_total` | counter | how often Redis went |
//! | `socks_redis_up` | gauge | 1 while Redis answers, 0 while it does not |
//!
//! # What Redis must be
//!
//! Version 6 or later, or Valkey, as one primary: a cluster serves if all keys share
//! a slot, which they do. All keys begin with the [prefix](Redis::with_prefix), and all
//! expire. Let it evict nothing (`maxmemory-policy noeviction`): what it forgets is
//! not counted. Nodes need no clocks that agree; Redis's is used throughout.

mod link;

pub use link::{Outage, Redis, RedisNumbers, RedisUrlError};
