//! Limits that nodes count together.

use std::{collections::HashSet, sync::Arc};

use socks_tower::middleware::redis::{By, RedisLimitsLayer};

use super::limits::{Counting, Key};
use crate::{config::Config, shared::Shared};

/// All that count connections, in one layer: a connection asks Redis once. None if there are
/// none. Nodes count together what is said in the same words.
///
/// Each reload makes another one. It goes on from what Redis has counted.
pub fn together(
    config: &Config,
    limits: &Arc<[Counting]>,
    shared: &Shared,
) -> Option<RedisLimitsLayer> {
    let mut layer = RedisLimitsLayer::new(&shared.redis).with_lease(shared.lease);
    let mut names = HashSet::new();
    for (number, limit) in config.limit.iter().enumerate() {
        let name = format!("{limit:?}");
        // One that is said twice would count everybody twice.
        if !limit.is_shared() || !names.insert(name.clone()) {
            continue;
        }
        let by = || {
            let limits = Arc::clone(limits);
            By::key(move |session| limits.get(number)?.key(session).map(text))
        };
        if let Some(max) = limit.connections {
            layer = layer.with_live(&name, max.get(), by());
        }
        if let Some(rate) = limit.new {
            layer = layer.with_rate(&name, rate, by());
        }
    }
    (!names.is_empty()).then_some(layer)
}

/// Who it is, in Redis. No user is taken for those without a name.
fn text(key: Key) -> String {
    match key {
        Key::User(Some(user)) => format!("={}", user.as_str()),
        Key::Client(Some(client)) => client.to_string(),
        Key::User(None) | Key::Client(None) | Key::All => String::new(),
    }
}
