//! Quotas that all nodes spend from.

mod known;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redis::Cmd;

use self::known::Known;
use super::{Line, Member, MemberFuture, Outage, Redis, Script, Unanswered, every};
use crate::{
    middleware::quota::{QuotaKey, QuotaStore},
    session::BoxError,
};

static SPEND: Script = Script::new(include_str!("spend.lua"));

/// Keys that Redis remembers.
const MOST: u64 = 1_000_000;

/// The largest quota: what Redis's numbers count to the byte.
const LARGEST: u64 = 1 << 53;

/// The longest period, ten years, so that its milliseconds can be counted.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How often Redis is told of what it did not hear.
const AGAIN: Duration = Duration::from_secs(1);

/// A quota that all nodes spend from, on a [`Redis`]. See
/// [A fleet](crate::middleware::quota#a-fleet).
pub struct RedisQuota {
    redis: Redis,
    account: Arc<Account>,
}

/// What outlives a connection.
struct Account {
    key: String,
    bytes: u64,
    period: Duration,
    known: Mutex<Known>,
}

impl RedisQuota {
    /// So many bytes for each key, up and down together, in each `period`, which all nodes
    /// count that have a quota of this `name`. 9 PB and ten years at most, and 1 ms at
    /// least.
    #[must_use]
    pub fn new(redis: &Redis, name: &str, bytes: u64, period: Duration) -> Self {
        let account = Arc::new(Account {
            key: redis.key(&["quota", name]),
            bytes: bytes.min(LARGEST),
            period: period.clamp(Duration::from_millis(1), LONGEST),
            known: Mutex::default(),
        });
        redis.join(&account);
        Self {
            redis: redis.clone(),
            account,
        }
    }
}

#[async_trait]
impl QuotaStore for RedisQuota {
    async fn take(&self, key: &QuotaKey, want: u64) -> Result<u64, BoxError> {
        let (key, account) = (key.text(), &self.account);
        let owed = account.known().take_owed(&key);
        let call = account.spend(&key, want, &owed);
        match self.redis.run(&SPEND, &call).await {
            Ok(answer) => Ok(account.learn(&key, answer)),
            Err(why) => {
                let mut known = account.known();
                known.owe(&key, owed);
                match self.redis.outage() {
                    Outage::CountAlone => {
                        Ok(known.spend(&key, want, account.bytes, account.period))
                    }
                    Outage::Refuse => Err(why.into()),
                }
            }
        }
    }

    async fn give_back(&self, key: &QuotaKey, bytes: u64) -> Result<(), BoxError> {
        let (key, account) = (key.text(), &self.account);
        let owed = account.known().give_back(&key, bytes);
        let call = account.spend(&key, 0, &owed);
        match self.redis.run(&SPEND, &call).await {
            Ok(answer) => drop(account.learn(&key, answer)),
            Err(_) => account.known().owe(&key, owed),
        }
        Ok(())
    }
}

/// Bytes granted, bytes used, the period, milliseconds until its end.
type Answer = (u64, u64, u64, u64);

impl Account {
    fn spend(&self, key: &str, want: u64, owed: &known::Owed) -> Cmd {
        let mut call = SPEND.call(1);
        call.arg(&self.key).arg(key).arg(want.min(LARGEST));
        call.arg(owed.bytes);
        match owed.period {
            Some(period) => call.arg(period),
            None => call.arg(""),
        };
        let period = u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX);
        call.arg(self.bytes).arg(period).arg(MOST);
        call
    }

    fn learn(&self, key: &str, (granted, used, period, rest): Answer) -> u64 {
        let rest = Duration::from_millis(rest);
        self.known().learn(key, used, period, rest);
        granted
    }

    /// Tells Redis of all that it has not heard.
    async fn settle(&self, line: &Line) -> Result<(), Unanswered> {
        let owing = self.known().owing();
        for key in owing {
            let owed = self.known().take_owed(&key);
            let call = self.spend(&key, 0, &owed);
            match line.run(&SPEND, &call).await {
                Ok(answer) => drop(self.learn(&key, answer)),
                Err(why) => {
                    self.known().owe(&key, owed);
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member for Account {
    fn serve(self: Arc<Self>, line: Line) -> MemberFuture<()> {
        every(AGAIN, self, line, |this, line| {
            Box::pin(async move {
                // What is left waits for another time.
                let _ = this.settle(&line).await;
            })
        })
    }
}

impl fmt::Debug for RedisQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQuota")
            .field("key", &self.account.key)
            .field("bytes", &self.account.bytes)
            .field("period", &self.account.period)
            .finish_non_exhaustive()
    }
}
