//! Failures that all nodes count together.

mod replica;

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use self::replica::Replica;
use super::record::Terms;
use crate::{
    middleware::redis::{Outage, Redis, Unanswered},
    session::{Error, ErrorKind},
};

/// What this node knows of them all, and how it tells of its own.
pub(super) struct Fleet<K> {
    redis: Redis,
    name: String,
    text: fn(&K) -> String,
    replica: Arc<Replica>,
}

impl<K> Fleet<K> {
    pub(super) fn new(redis: Redis, name: String, text: fn(&K) -> String, max_keys: usize) -> Self {
        let replica = Arc::new(Replica::new(&redis, &name, max_keys));
        redis.join(&replica);
        Self {
            redis,
            name,
            text,
            replica,
        }
    }

    /// The same with another bound, and nothing known.
    pub(super) fn with_max_keys(&self, max_keys: usize) -> Self {
        Self::new(self.redis.clone(), self.name.clone(), self.text, max_keys)
    }

    /// Asks nobody: what others count has been pushed.
    pub(super) fn check(&self, key: &K) -> Result<(), Error> {
        if Handle::try_current().is_ok() {
            self.redis.start();
        }
        if self.redis.outage() == Outage::Refuse && !self.redis.numbers().is_up {
            return Err(Error::new(ErrorKind::Other, Unanswered::Gone));
        }
        Ok(self.replica.records.check(&(self.text)(key))?)
    }

    /// Counts here at once; what all have counted is pushed a moment later.
    pub(super) fn failed(&self, key: &K, terms: &Terms) {
        let (key, terms) = ((self.text)(key), *terms);
        self.replica.records.failed(&key, &terms);
        let (redis, replica) = (self.redis.clone(), Arc::clone(&self.replica));
        spawn(async move {
            let call = replica.failed(&key, 1, Duration::ZERO, &terms);
            if redis.run::<()>(&replica::FAILED, &call).await.is_err() {
                replica.keep(key, 1, terms);
            }
        });
    }

    pub(super) fn succeeded(&self, key: &K) {
        let key = (self.text)(key);
        // Most have not failed, and need no question.
        if self.replica.records.succeeded(&key) {
            let (redis, replica) = (self.redis.clone(), Arc::clone(&self.replica));
            spawn(async move {
                let call = replica.succeeded(&key);
                // If it is not told, the failures are forgotten in their time.
                let _ = redis.run::<()>(&replica::SUCCEEDED, &call).await;
            });
        }
    }
}

/// In a task: nobody waits for it, and who hangs up does not stop it.
fn spawn(telling: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(telling);
    }
}
