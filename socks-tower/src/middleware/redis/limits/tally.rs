//! Who has how many connections at this node, and what Redis is told of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::Cmd;
use tokio::{
    sync::Notify,
    time::{Instant, interval_at},
};

use crate::middleware::{
    limit::Limited,
    redis::link::{Line, Member, MemberFuture, Redis, Script, Unanswered},
};

/// One live limit of this node. Redis has for each key how many connections of it each
/// node has, until when, and in which number of a message it was told so: always whole
/// counts, so that one that is lost, late or told twice does no harm.
pub(super) struct Tally {
    pub(super) max: usize,
    max_keys: usize,
    node: String,
    lease: Duration,
    table: Mutex<Table>,
    /// There is something to tell.
    news: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    /// Those that have connections, or ask for one.
    keys: HashMap<Arc<str>, OfKey>,
    /// Those of which Redis may have heard more than there are now.
    untold: HashSet<Arc<str>>,
    /// Of the last message.
    number: u64,
}

struct OfKey {
    count: usize,
    /// The last message that told of it.
    number: u64,
}

/// One of a key's places, taken.
pub(super) struct Place {
    tally: Arc<Tally>,
    key: Arc<str>,
    count: usize,
    number: u64,
    /// Whether Redis may have counted it.
    pub(super) told: bool,
}

/// The messages to a Redis that is only told: nobody waits for these.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many keys are told of in one call: Redis does nothing else meanwhile.
const AT_ONCE: usize = 256;

static TELL: Script = Script::new(include_str!("tell.lua"));

impl Tally {
    pub(super) fn new(redis: &Redis, max: usize, max_keys: usize, lease: Duration) -> Arc<Self> {
        // Two that count the same at one node are as two nodes.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let tally = Arc::new(Self {
            max,
            max_keys,
            node: format!("{}/{number}", redis.node_id()),
            lease,
            table: Mutex::default(),
            news: Arc::default(),
        });
        redis.join(&tally);
        tally
    }

    pub(super) fn take(self: &Arc<Self>, key: &Arc<str>) -> Result<Place, Limited> {
        let mut table = self.table();
        let Table { keys, number, .. } = &mut *table;
        if keys.len() >= self.max_keys && !keys.contains_key(key) {
            let max = self.max_keys;
            return Err(Limited::Keys { max });
        }
        let of_key = keys.get(key);
        if of_key.map_or(0, |of_key| of_key.count) >= self.max {
            return Err(Limited::Live { max: self.max });
        }
        *number += 1;
        let of_key = keys.entry(Arc::clone(key)).or_insert(OfKey {
            count: 0,
            number: 0,
        });
        of_key.count += 1;
        of_key.number = *number;
        Ok(Place {
            count: of_key.count,
            number: of_key.number,
            told: false,
            tally: Arc::clone(self),
            key: Arc::clone(key),
        })
    }

    fn give_back(&self, place: &Place) {
        let mut table = self.table();
        let Table { keys, untold, .. } = &mut *table;
        let Some(of_key) = keys.get_mut(&place.key) else {
            return;
        };
        // Nobody has counted it: not its own question, nor what was told since.
        let unheard = !place.told && of_key.number == place.number;
        of_key.count -= 1;
        if of_key.count == 0 {
            keys.remove(&place.key);
            // What a flood has grown does not stay for ever.
            let room = keys.capacity();
            if room > 1024 && keys.len() < room / 8 {
                keys.shrink_to(room / 4);
            }
        }
        // What is not told is forgotten when its lease is over.
        if !unheard && untold.len() < self.max_keys {
            untold.insert(Arc::clone(&place.key));
            drop(table);
            self.news.notify_one();
        }
    }

    /// Tells of these keys, how many connections they have now; none at all, if the node
    /// `ends`.
    async fn tell(&self, line: &Line, keys: &[Arc<str>], ends: bool) -> Result<(), Unanswered> {
        for some in keys.chunks(AT_ONCE) {
            line.run::<()>(&TELL, &self.telling(some, ends)).await?;
        }
        Ok(())
    }

    fn telling(&self, keys: &[Arc<str>], ends: bool) -> Cmd {
        let mut call = TELL.call(keys.len());
        for key in keys {
            call.arg(&**key);
        }
        call.arg(&self.node).arg(millis(self.lease));
        let mut table = self.table();
        for key in keys {
            table.number += 1;
            let number = table.number;
            let count = table.keys.get_mut(key).map_or(0, |of_key| {
                of_key.number = number;
                of_key.count
            });
            call.arg(if ends { 0 } else { count }).arg(number);
        }
        call
    }

    fn untold(&self) -> Vec<Arc<str>> {
        let untold = std::mem::take(&mut self.table().untold);
        untold.into_iter().collect()
    }

    fn all(&self) -> Vec<Arc<str>> {
        let mut table = self.table();
        let mut all = std::mem::take(&mut table.untold);
        all.extend(table.keys.keys().cloned());
        all.into_iter().collect()
    }

    /// Nothing panics while it holds the lock.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Member for Tally {
    fn back(self: Arc<Self>, line: Line) -> MemberFuture<Result<(), Unanswered>> {
        Box::pin(async move { self.tell(&line, &self.all(), false).await })
    }

    fn serve(self: Arc<Self>, line: Line) -> MemberFuture<()> {
        let line = line.within(PATIENCE);
        let (period, news) = (self.lease / 3, Arc::clone(&self.news));
        let tally = Arc::downgrade(&self);
        Box::pin(async move {
            let mut renewal = interval_at(Instant::now() + period, period);
            loop {
                let renews = tokio::select! {
                    _ = renewal.tick() => true,
                    () = news.notified() => false,
                };
                let Some(tally) = tally.upgrade() else { return };
                let keys = if renews { tally.all() } else { tally.untold() };
                // What was not heard is told at the next renewal.
                let _ = tally.tell(&line, &keys, false).await;
            }
        })
    }

    fn close(self: Arc<Self>, line: Line) -> MemberFuture<()> {
        Box::pin(async move {
            let _ = self.tell(&line, &self.all(), true).await;
        })
    }
}

impl Place {
    /// Adds to a call of `take.lua` what is asked.
    pub(super) fn ask(&self, call: &mut Cmd) {
        let Tally { max, lease, .. } = &*self.tally;
        call.arg("live").arg(max).arg(self.count).arg(self.number);
        call.arg(&self.tally.node).arg(millis(*lease));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tally.give_back(self);
    }
}
