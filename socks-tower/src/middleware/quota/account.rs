//! What the tunnels of one key have left of what was leased for them.

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify, time::Instant};

use super::{QuotaKey, QuotaStore, key::KeyOf};
use crate::session::{
    BoxError, Session,
    policy::{Direction, Grant, Throttle},
    timeout,
};

/// How long a quota may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon a flow looks again whether the lease has come.
const LOOK: Duration = Duration::from_millis(10);

/// How soon a quota that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Failures in a row after which tunnels do not wait any more.
const MOST_FAILURES: u8 = 10;

/// For so long after it said that nothing is left, a quota is not asked again.
const FRESH: Duration = Duration::from_secs(1);

/// The accounts of one layer: those of keys that have sessions.
pub(super) struct Accounts {
    key_of: KeyOf,
    quota: Arc<dyn QuotaStore>,
    lease: u64,
    live: Mutex<HashMap<QuotaKey, Weak<Account>>>,
}

pub(super) struct Account {
    accounts: Arc<Accounts>,
    key: QuotaKey,
    state: Mutex<State>,
    /// A renewal is over.
    answered: Notify,
}

#[derive(Default)]
struct State {
    left: u64,
    /// One at a time asks for more, so that no more than a lease is held.
    renewing: bool,
    /// When the quota said that nothing is left.
    emptied: Option<Instant>,
    failures: u8,
    failed: Option<Failed>,
}

struct Failed {
    at: Instant,
    why: Arc<dyn StdError + Send + Sync>,
}

/// What a quota failed with, for all who waited.
#[derive(Debug)]
struct Untold(Arc<dyn StdError + Send + Sync>);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Untold {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

impl Accounts {
    pub(super) fn new(key_of: KeyOf, quota: Arc<dyn QuotaStore>, lease: u64) -> Self {
        Self {
            key_of,
            quota,
            lease,
            live: Mutex::default(),
        }
    }

    /// The same with another lease.
    pub(super) fn with_lease(&self, lease: u64) -> Self {
        Self::new(Arc::clone(&self.key_of), Arc::clone(&self.quota), lease)
    }

    /// The account that `session` spends from, if it has a quota. It goes with
    /// the last of its sessions.
    pub(super) fn of(self: &Arc<Self>, session: &Session) -> Option<Arc<Account>> {
        let key = (self.key_of)(session)?;
        let mut live = self.lock();
        if let Some(account) = live.get(&key).and_then(Weak::upgrade) {
            return Some(account);
        }
        let account = Arc::new(Account {
            accounts: Arc::clone(self),
            key: key.clone(),
            state: Mutex::default(),
            answered: Notify::new(),
        });
        live.insert(key, Arc::downgrade(&account));
        Some(account)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QuotaKey, Weak<Account>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    pub(super) fn key(&self) -> &QuotaKey {
        &self.key
    }

    /// Whether anything is left, for a session that is to begin.
    ///
    /// # Errors
    ///
    /// The quota's, and its silence.
    pub(super) async fn admits(self: &Arc<Self>) -> Result<bool, BoxError> {
        // Before the renewal begins, which may be over at once.
        let answered = self.answered.notified();
        let begins = {
            let mut state = self.lock();
            if state.left > 0 {
                return Ok(true);
            }
            !mem::replace(&mut state.renewing, true)
        };
        if begins {
            self.renew(0);
        }
        answered.await;
        let state = self.lock();
        match &state.failed {
            Some(failed) => Err(Untold(Arc::clone(&failed.why)).into()),
            // Others may have used it up already, and there will be more.
            None => Ok(state.left > 0 || !state.is_empty()),
        }
    }

    /// Leases as much as is missing of a lease, or of a datagram that is larger.
    async fn fetch(&self, want: u64) {
        let lease = self.accounts.lease.max(want);
        let missing = lease.saturating_sub(self.lock().left);
        let asked = self.accounts.quota.take(&self.key, missing);
        let answer = match timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(silence) => Err(silence.into()),
        };
        let mut state = self.lock();
        match answer {
            Ok(bytes) => {
                state.left = state.left.saturating_add(bytes);
                state.emptied = (bytes == 0).then(Instant::now);
                state.failures = 0;
                state.failed = None;
            }
            Err(error) => {
                tracing::warn!(key = self.key.text().as_str(), %error, "quota cannot be told");
                state.failures = state.failures.saturating_add(1);
                state.failed = Some(Failed {
                    at: Instant::now(),
                    why: error.into(),
                });
            }
        }
    }

    /// Leases more, now if that needs no waiting. What is on its way is not lost if those
    /// who wait for it go.
    fn renew(self: &Arc<Self>, want: u64) {
        let renewal = Renewal(Arc::clone(self));
        run(async move { renewal.0.fetch(want).await });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut live = self.accounts.lock();
        // Another may have taken its place.
        if live
            .get(&self.key)
            .is_some_and(|account| account.strong_count() == 0)
        {
            live.remove(&self.key);
        }
        // What a flood has grown does not stay for ever.
        let room = live.capacity();
        if room > 1024 && live.len() < room / 8 {
            live.shrink_to(room / 4);
        }
        drop(live);
        let left = self.lock().left;
        if left > 0 {
            let (accounts, key) = (Arc::clone(&self.accounts), self.key.clone());
            run(async move {
                if let Err(error) = accounts.quota.give_back(&key, left).await {
                    tracing::warn!(key = key.text().as_str(), bytes = left, %error, "quota did not take bytes back");
                }
            });
        }
    }
}

/// Held while a lease is fetched, and let go even if the task is cut off.
struct Renewal(Arc<Account>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.lock().renewing = false;
        self.0.answered.notify_waiters();
    }
}

/// Runs `work` as far as it goes without waiting, and the rest in a task.
fn run(work: impl Future<Output = ()> + Send + 'static) {
    // Without a runtime, which is ending, there is nobody to wait.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
    let mut cx = Context::from_waker(Waker::noop());
    if work.as_mut().poll(&mut cx).is_pending() {
        runtime.spawn(work);
    }
}

/// One session's share in an account.
pub(super) struct Share(pub(super) Arc<Account>);

impl State {
    fn take(&mut self, want: u64) -> u64 {
        let bytes = want.min(self.left);
        self.left -= bytes;
        bytes
    }

    fn is_empty(&self) -> bool {
        self.emptied.is_some_and(|at| at.elapsed() < FRESH)
    }

    fn begins_renewal(&mut self, lease: u64, want: u64) -> bool {
        let waits = self
            .failed
            .as_ref()
            .is_some_and(|failed| failed.at.elapsed() < RETRY);
        let low = self.left <= lease / 2 || self.left < want;
        let begins = low && !self.renewing && !waits && !self.is_empty();
        self.renewing |= begins;
        begins
    }
}

impl Share {
    /// Takes up to `most` bytes.
    fn spend(&self, most: u64) -> Grant {
        let account = &self.0;
        let mut state = account.lock();
        // Before anything is taken, which may come back: no more than a lease is held.
        if state.begins_renewal(account.accounts.lease, most) {
            drop(state);
            account.renew(most);
            state = account.lock();
        }
        let bytes = state.take(most);
        if bytes > 0 {
            return Grant::Bytes(bytes);
        }
        if state.is_empty() || state.failures >= MOST_FAILURES {
            return Grant::Exhausted;
        }
        let failed = state.failed.as_ref().filter(|_| !state.renewing);
        Grant::Wait(failed.map_or_else(|| Instant::now() + LOOK, |failed| failed.at + RETRY))
    }
}

impl Throttle for Share {
    fn take(&self, _: Direction, want: u64) -> Grant {
        // With the other half, the next read need not wait for more.
        self.spend(want.min(self.0.accounts.lease.div_ceil(2)))
    }

    fn give_back(&self, _: Direction, bytes: u64) {
        let mut state = self.0.lock();
        state.left = state.left.saturating_add(bytes);
    }

    fn try_take(&self, direction: Direction, bytes: u64) -> bool {
        match self.spend(bytes) {
            Grant::Bytes(granted) if granted >= bytes => true,
            Grant::Bytes(granted) => {
                // The last bytes are too few for a datagram: that is the end.
                if !self.0.lock().is_empty() {
                    self.give_back(direction, granted);
                }
                false
            }
            Grant::Wait(_) | Grant::Exhausted => false,
        }
    }

    fn is_exhausted(&self) -> bool {
        let state = self.0.lock();
        state.left == 0 && (state.is_empty() || state.failures >= MOST_FAILURES)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{middleware::quota::MemoryQuota, session::ClientKey};

    fn of(accounts: &Arc<Accounts>, client: u32) -> Arc<Account> {
        let addr = (Ipv4Addr::from_bits(client), 1).into();
        accounts.of(&Session::new().with_client_addr(addr)).unwrap()
    }

    #[tokio::test]
    async fn a_hundred_thousand_clients_leave_no_account_when_they_are_gone() {
        let quota = MemoryQuota::new(10, Duration::from_secs(60));
        let accounts = Arc::new(Accounts::new(
            Arc::new(|session| Some(QuotaKey::Client(ClientKey::of_session(session)))),
            Arc::new(quota),
            10,
        ));

        for client in 0..100_000 {
            assert!(of(&accounts, client).admits().await.unwrap());
            assert_eq!(accounts.lock().len(), 0);
        }
        let live: Vec<_> = (0..100_000).map(|client| of(&accounts, client)).collect();
        let (same, first) = (of(&accounts, 0), live.first().unwrap());
        assert!(Arc::ptr_eq(&same, first));
        assert_eq!(
            accounts.lock().len(),
            live.len(),
            "one for each that is live"
        );
        drop((same, live));

        assert_eq!(accounts.lock().len(), 0);
        assert!(accounts.lock().capacity() <= 2048);
    }
}
