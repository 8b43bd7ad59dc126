//! What nodes count together, on Redis.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tower::middleware::{
    Sessions,
    redis::{FleetSessions, Outage, Redis},
};

use crate::{
    config::{Config, WhenGone},
    kept::Kept,
    lock, node, tls,
};

/// The link, and what it was made of: another one is another beginning for all that counts
/// by it.
#[derive(Clone)]
pub struct Shared {
    pub redis: Redis,
    pub made_of: String,
    pub lease: Duration,
}

impl Shared {
    /// None if this node counts alone. Nothing is connected yet.
    pub fn new(config: &Config, kept: &mut Kept) -> Result<Option<Self>, Box<dyn Error>> {
        agrees(config)?;
        let Some(url) = &config.redis else {
            return Ok(None);
        };
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", config.said.at("redis"));
        let url = url.reveal().map_err(|error| at(&error))?;
        let deadline = Duration::from_millis(config.redis_deadline.get().into());
        let outage = match config.redis_when_gone {
            WhenGone::CountAlone => Outage::CountAlone,
            WhenGone::Refuse => Outage::Refuse,
        };
        let (prefix, node) = (&config.redis_prefix, node::name(config));
        let made_of = format!("{:?}", (&url, prefix, &node, deadline, outage));
        let redis = kept.or_try_made("redis", &made_of, || {
            let opened = match url.starts_with("rediss://") {
                true => Redis::open_tls(&url, tls::trusting("Redis (rediss://)")?),
                false => Redis::open(&url),
            };
            let redis = opened.map_err(|error| at(&error))?;
            let redis = redis.with_prefix(prefix).with_node(&node);
            Ok::<_, Box<dyn Error>>(redis.with_deadline(deadline).when_gone(outage))
        })?;
        Ok(Some(Self {
            redis,
            made_of,
            lease: config.redis_lease.duration(),
        }))
    }
}

/// Without Redis its keys say nothing.
fn agrees(config: &Config) -> Result<(), String> {
    let default = Config::default();
    let said = [
        ("redis-prefix", config.redis_prefix != default.redis_prefix),
        (
            "redis-deadline",
            config.redis_deadline != default.redis_deadline,
        ),
        (
            "redis-when-gone",
            config.redis_when_gone != default.redis_when_gone,
        ),
        ("redis-lease", config.redis_lease != default.redis_lease),
    ];
    match said.into_iter().find(|(_, said)| *said) {
        Some((key, _)) if config.redis.is_none() => {
            let key = config.said.at(key);
            Err(format!("{key}: nothing is shared: add --redis"))
        }
        _ => Ok(()),
    }
}

/// The link that is in use, which is another one once its keys have changed.
#[derive(Clone, Default)]
pub struct Link(Arc<Mutex<Option<Linked>>>);

#[derive(Clone)]
struct Linked {
    made_of: String,
    redis: Redis,
    /// None if nobody lists them here.
    sessions: Option<FleetSessions>,
}

impl Link {
    /// Uses that of `shared` from now on, connects it, and lists `sessions` there. One that
    /// was used before goes on for as long as a session counts by it.
    pub fn set(&self, shared: Option<&Shared>, sessions: Option<&Sessions>) {
        let mut linked = lock(&self.0);
        let made_of = shared.map(|shared| &shared.made_of);
        if made_of == linked.as_ref().map(|it| &it.made_of) {
            return;
        }
        let new = shared.map(|shared| {
            let redis = shared.redis.clone();
            Linked {
                made_of: shared.made_of.clone(),
                sessions: sessions.map(|it| FleetSessions::new(&redis, it.clone())),
                redis,
            }
        });
        if let Some(redis) = new.as_ref().map(|it| it.redis.clone()) {
            // On this runtime, which ends last; and before the first client waits for it.
            tokio::spawn(async move { redis.connect().await });
        }
        let old = std::mem::replace(&mut *linked, new);
        drop(linked);
        drop(old);
    }

    pub fn redis(&self) -> Option<Redis> {
        lock(&self.0).as_ref().map(|it| it.redis.clone())
    }

    /// Those of all nodes; None if this one counts alone.
    pub fn sessions(&self) -> Option<FleetSessions> {
        lock(&self.0).as_ref().and_then(|it| it.sessions.clone())
    }

    /// All sessions have ended: what this node holds, others may have.
    pub async fn close(&self) {
        if let Some(redis) = self.redis() {
            redis.close().await;
        }
    }
}
