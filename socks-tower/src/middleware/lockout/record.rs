//! Who failed how often.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    middleware::table::Table,
    session::{Error, ErrorKind},
};

/// A client failed to authenticate so often that it is not let try: the source
/// of an [`Error`] of kind [`ErrorKind::Authentication`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("locked out for another {remaining:?}")]
#[non_exhaustive]
pub struct LockedOut {
    /// For how long.
    pub remaining: Duration,
}

impl From<LockedOut> for Error {
    fn from(locked_out: LockedOut) -> Self {
        Self::new(ErrorKind::Authentication, locked_out)
    }
}

/// How many failures there may be, and what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) max_failures: u32,
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) memory: Duration,
}

/// No term needs to be longer, and this much more than now is an instant yet.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    /// When it is locked out until; in the past once it no longer is.
    until: Instant,
    /// When it is as if it had never failed.
    forgotten: Instant,
}

/// Those that failed lately.
#[derive(Debug)]
pub(super) struct Records<K> {
    table: Mutex<Table<K, Record>>,
}

impl<K: Clone + Eq + Hash> Records<K> {
    pub(super) fn new(max_keys: usize) -> Self {
        Self {
            table: Mutex::new(Table::new(max_keys)),
        }
    }

    pub(super) fn check(&self, key: &K) -> Result<(), LockedOut> {
        let now = Instant::now();
        let until = self.table().get(key).map(|record| record.until);
        match until {
            Some(until) if until > now => Err(LockedOut {
                remaining: until - now,
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn failed(&self, key: &K, terms: &Terms) {
        let now = Instant::now();
        let mut table = self.table();
        // With no room for a single one, nothing is counted.
        let Some(record) = Self::place(&mut table, key.clone(), now) else {
            return;
        };
        if record.until > now {
            // It was with the verifier before the lock fell.
            return;
        }
        record.failures = record.failures.saturating_add(1);
        if let Some(locks) = record.failures.checked_sub(terms.max_failures) {
            let doubled = terms.first.saturating_mul(2_u32.saturating_pow(locks));
            record.until = now + doubled.min(terms.longest);
        }
        record.forgotten = record.until.max(now) + terms.memory;
    }

    /// Whether that cleared a failure.
    pub(super) fn succeeded(&self, key: &K) -> bool {
        let now = Instant::now();
        let mut table = self.table();
        // One that is locked out stays so, though an earlier guess was right.
        let clears = table.get(key).is_some_and(|record| record.until <= now);
        if clears {
            table.remove(key);
        }
        clears
    }

    /// What is known elsewhere: `key` has so many failures, is locked out for `rest`, and
    /// to be forgotten after `forget`. No lock that is known here ends sooner for it.
    #[cfg(feature = "redis")]
    pub(super) fn learn(&self, key: K, failures: u32, rest: Duration, forget: Duration) {
        let now = Instant::now();
        if failures == 0 {
            self.succeeded(&key);
            return;
        }
        let mut table = self.table();
        if let Some(record) = Self::place(&mut table, key, now) {
            record.failures = failures;
            record.until = record.until.max(now + rest.min(LONGEST));
            record.forgotten = record.until.max(now + forget.min(LONGEST));
        }
    }

    /// The record of `key`, a new one if it has none; none if there is room for nobody.
    fn place(table: &mut Table<K, Record>, key: K, now: Instant) -> Option<&mut Record> {
        let new = || Record {
            failures: 0,
            until: now,
            forgotten: now,
        };
        let idle = |record: &Record| record.forgotten <= now;
        if table.entry(key.clone(), now, idle, new).is_none() {
            table.evict(|record| Some(record.forgotten));
        }
        let record = table.entry(key, now, idle, new)?;
        if idle(record) {
            *record = new();
        }
        Some(record)
    }

    /// Nothing panics while it holds the lock.
    fn table(&self) -> MutexGuard<'_, Table<K, Record>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::advance;

    use super::*;
    use crate::session::ClientKey;

    const SECOND: Duration = Duration::from_secs(1);

    const TERMS: Terms = Terms {
        max_failures: 2,
        first: SECOND,
        longest: Duration::from_secs(5),
        memory: Duration::from_secs(60),
    };

    fn client(number: u32) -> ClientKey {
        ClientKey::of(Ipv4Addr::from_bits(number).into())
    }

    fn remaining(records: &Records<ClientKey>, number: u32) -> Option<Duration> {
        let locked_out = records.check(&client(number)).err();
        locked_out.map(|locked_out| locked_out.remaining)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_doubles_with_each_failure_up_to_the_longest() {
        let records = Records::new(10);
        records.failed(&client(1), &TERMS);
        assert_eq!(remaining(&records, 1), None);
        for seconds in [1, 2, 4, 5, 5] {
            records.failed(&client(1), &TERMS);
            records.failed(&client(1), &TERMS); // One that was on its way.
            assert_eq!(remaining(&records, 1), Some(seconds * SECOND));
            assert_eq!(remaining(&records, 2), None);
            advance(seconds * SECOND).await;
            assert_eq!(remaining(&records, 1), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten() {
        let records = Records::new(10);
        for _ in 0..3 {
            records.failed(&client(1), &TERMS);
            advance(TERMS.memory).await;
        }
        assert_eq!(remaining(&records, 1), None);
        records.failed(&client(1), &TERMS);
        records.failed(&client(1), &TERMS);
        assert_eq!(remaining(&records, 1), Some(SECOND));
        advance(TERMS.memory).await;
        records.failed(&client(1), &TERMS);
        assert_eq!(
            remaining(&records, 1),
            Some(2 * SECOND),
            "the lock itself is not part of the time that it takes to forget"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_clears_failures_but_no_lock() {
        let records = Records::new(10);
        for _ in 0..5 {
            records.failed(&client(1), &TERMS);
            records.succeeded(&client(1));
        }
        assert_eq!(remaining(&records, 1), None);
        records.failed(&client(1), &TERMS);
        records.failed(&client(1), &TERMS);
        records.succeeded(&client(1));
        assert_eq!(remaining(&records, 1), Some(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_clients_leave_the_table_within_its_bound() {
        let records = Records::new(65_536);
        for number in 0..100_000 {
            records.failed(&client(number), &TERMS);
            records.failed(&client(number), &TERMS);
            assert!(remaining(&records, number).is_some(), "newcomers find room");
        }
        assert_eq!(records.table().len(), 65_536);

        advance(2 * TERMS.memory).await;
        records.failed(&client(200_000), &TERMS);

        assert_eq!(records.table().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_without_room_counts_nothing() {
        let records = Records::new(0);
        records.failed(&client(1), &TERMS);
        records.failed(&client(1), &TERMS);
        assert_eq!(remaining(&records, 1), None);
    }
}
