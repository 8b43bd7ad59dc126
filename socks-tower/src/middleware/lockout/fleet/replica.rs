use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::Cmd;

use super::super::record::{Records, Terms};
use crate::middleware::redis::{Line, Member, MemberFuture, Redis, Script, Unanswered, every};

pub(super) static FAILED: Script = Script::new(include_str!("failed.lua"));
pub(super) static SUCCEEDED: Script = Script::new(include_str!("succeeded.lua"));
static SOME: Script = Script::new(include_str!("some.lua"));

/// How many are told of before anything else is asked.
const FIRST: usize = 1000;

/// How often those are told of that Redis did not hear.
const AGAIN: Duration = Duration::from_secs(1);

/// All failures that Redis knows of, and this node's own that it does not.
pub(super) struct Replica {
    pub(super) records: Records<String>,
    untold: Mutex<HashMap<String, Untold>>,
    keys: [String; 2],
    channel: String,
    max_keys: usize,
}

struct Untold {
    failures: u32,
    terms: Terms,
}

/// A key, its failures, and in how many milliseconds its lock ends and it is forgotten.
type Record = (Vec<u8>, u32, u64, u64);

impl Replica {
    pub(super) fn new(redis: &Redis, name: &str, max_keys: usize) -> Self {
        Self {
            records: Records::new(max_keys),
            untold: Mutex::default(),
            keys: ["forgotten", "records"].map(|what| redis.key(&["lockout", name, what])),
            channel: redis.key(&["lockout", name]),
            max_keys,
        }
    }

    /// That `key` failed so often, and is locked out for so long besides.
    pub(super) fn failed(&self, key: &str, failures: u32, besides: Duration, terms: &Terms) -> Cmd {
        let mut call = FAILED.call(self.keys.len());
        call.arg(&self.keys).arg(&self.channel).arg(key);
        call.arg(failures).arg(millis(besides));
        call.arg(terms.max_failures)
            .arg(millis(terms.first))
            .arg(millis(terms.longest))
            .arg(millis(terms.memory))
            .arg(self.max_keys);
        call
    }

    pub(super) fn succeeded(&self, key: &str) -> Cmd {
        let mut call = SUCCEEDED.call(self.keys.len());
        call.arg(&self.keys).arg(&self.channel).arg(key);
        call
    }

    /// For when Redis hears again.
    pub(super) fn keep(&self, key: String, failures: u32, terms: Terms) {
        let mut untold = self.untold();
        if let Some(kept) = untold.get_mut(&key) {
            kept.failures = kept.failures.saturating_add(failures);
        } else if untold.len() < self.max_keys {
            untold.insert(key, Untold { failures, terms });
        }
    }

    /// Tells of up to `most` keys that Redis did not hear of.
    async fn tell(&self, line: &Line, most: usize) -> Result<(), Unanswered> {
        for _ in 0..most {
            let Some((key, Untold { failures, terms })) = self.take_untold() else {
                break;
            };
            let locked_out = self.records.check(&key).err();
            let besides = locked_out.map_or(Duration::ZERO, |locked_out| locked_out.remaining);
            let call = self.failed(&key, failures, besides, &terms);
            if let Err(why) = line.run::<()>(&FAILED, &call).await {
                self.keep(key, failures, terms);
                return Err(why);
            }
        }
        Ok(())
    }

    fn take_untold(&self) -> Option<(String, Untold)> {
        let mut untold = self.untold();
        let key = untold.keys().next()?.clone();
        untold.remove_entry(&key)
    }

    /// Reads all that Redis knows.
    async fn read(&self, line: &Line) -> Result<(), Unanswered> {
        let mut cursor = "0".to_owned();
        loop {
            let mut call = SOME.call(self.keys.len());
            call.arg(&self.keys).arg(&cursor);
            let (next, some): (String, Vec<Record>) = line.run(&SOME, &call).await?;
            for (key, failures, rest, forget) in some {
                self.learn(&key, failures, rest, forget);
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn learn(&self, key: &[u8], failures: u32, rest: u64, forget: u64) {
        let [rest, forget] = [rest, forget].map(Duration::from_millis);
        if let Ok(key) = str::from_utf8(key) {
            self.records.learn(key.to_owned(), failures, rest, forget);
        }
    }

    fn untold(&self) -> MutexGuard<'_, HashMap<String, Untold>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member for Replica {
    fn channels(&self) -> Vec<String> {
        vec![self.channel.clone()]
    }

    fn heard(&self, _: &str, payload: &[u8]) {
        let mut parts = payload.splitn(4, |byte| *byte == b' ');
        let mut number = || str::from_utf8(parts.next()?).ok()?.parse().ok();
        let numbers = (number(), number(), number());
        if let ((Some(failures), Some(rest), Some(forget)), Some(key)) = (numbers, parts.next()) {
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            self.learn(key, failures, rest, forget);
        }
    }

    fn back(self: Arc<Self>, line: Line) -> MemberFuture<Result<(), Unanswered>> {
        Box::pin(async move {
            self.tell(&line, FIRST).await?;
            self.read(&line).await
        })
    }

    fn serve(self: Arc<Self>, line: Line) -> MemberFuture<()> {
        every(AGAIN, self, line, |this, line| {
            Box::pin(async move {
                // Those that are left wait for another time.
                let _ = this.tell(&line, usize::MAX).await;
            })
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn replica() -> Replica {
        Replica::new(&Redis::open("redis://localhost").unwrap(), "clients", 10)
    }

    fn remaining(replica: &Replica, key: &str) -> Option<Duration> {
        let locked_out = replica.records.check(&key.to_owned()).err();
        locked_out.map(|locked_out| locked_out.remaining)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_pushed_is_known_whatever_the_key_has_in_it() {
        let replica = replica();
        for key in ["joe", "", " 1 2 3 ", "j\"o\0e\r\n\u{1b}[31m", "{\"a\":1}"] {
            let pushed = format!("3 5000 6000 {key}");
            replica.heard("", pushed.as_bytes());
            assert_eq!(remaining(&replica, key), Some(5 * SECOND));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn garbage_that_is_pushed_is_nothing() {
        let replica = replica();
        let garbage: [&[u8]; 8] = [
            b"",
            b" ",
            b"3",
            b"3 5000 6000",
            b"3 5000 -1 joe",
            b"3 5000 6000.5 joe",
            b"x 5000 6000 joe",
            b"3 5000 6000 \xff\xfe",
        ];
        for pushed in garbage {
            replica.heard("", pushed);
        }
        assert_eq!(remaining(&replica, "joe"), None);
        let longest = format!("{0} {0} {0} joe", u64::MAX);
        replica.heard("", longest.as_bytes());
        assert!(remaining(&replica, "joe").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_redis_did_not_hear_is_bounded_and_added_up() {
        let terms = Terms {
            max_failures: 2,
            first: SECOND,
            longest: SECOND,
            memory: SECOND,
        };
        let replica = replica();
        for number in 0..1000 {
            replica.keep(number.to_string(), 1, terms);
            replica.keep("3".to_owned(), 1, terms);
        }
        let mut kept: HashMap<_, _> = std::iter::from_fn(|| replica.take_untold()).collect();
        assert_eq!(kept.len(), 10);
        assert_eq!(kept.remove("3").unwrap().failures, 1001);
    }
}
