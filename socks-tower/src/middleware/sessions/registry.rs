use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use socks_core::{Target, v5::Command};

use crate::session::{
    HasSession, Request, Session,
    policy::{Direction, Meter, Policy},
};

/// The live sessions. Its clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    last: u64,
    /// By id, and so by age.
    live: BTreeMap<SessionId, Arc<LiveSession>>,
}

/// The number of a session: no other of the same list has or had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    /// The id with this number, which need not be of a session.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, from 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session in the list: who, where to, since when, and what it has carried.
/// It may have ended since.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    request: Request,
    since: SystemTime,
    began: Instant,
    carried: Arc<Carried>,
    pub(super) ended: CancellationToken,
}

impl LiveSession {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who it is, as far as was known when it was entered. Its policy is not
    /// kept here.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.request.session
    }

    /// What the client wants.
    #[must_use]
    pub fn command(&self) -> Command {
        self.request.command
    }

    /// Where to, as the client named it.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.request.target
    }

    /// When it was entered, by the system's clock, which may have been set
    /// since.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// How long ago it was entered.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many bytes have gone this way so far: payload, as its relay counts
    /// it.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.carried.way(direction).load(Ordering::Relaxed)
    }

    /// Ends it, if it has not ended. It is off the list a moment later.
    pub fn end(&self) {
        self.ended.cancel();
    }
}

impl Sessions {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The live sessions, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<LiveSession>> {
        self.lock().live.values().cloned().collect()
    }

    /// The session of this number, if it is live.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.lock().live.get(&id).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the session of this number; false if none that is live has it.
    pub fn end(&self, id: SessionId) -> bool {
        let live = self.get(id);
        if let Some(live) = &live {
            live.end();
        }
        live.is_some()
    }

    /// Enters what is requested, and has its bytes counted.
    pub(super) fn enter(&self, requested: &mut Request) -> Entry {
        let mut request = requested.clone();
        // Whoever keeps an entry keeps no quota of a session that has ended;
        // and what is shared would be copied to add a meter.
        request.session.policy = Policy::new();
        let carried = Arc::new(Carried::default());
        let meter = Arc::clone(&carried);
        requested.session_mut().policy.add_meter(meter);
        let mut list = self.lock();
        list.last += 1;
        let live = Arc::new(LiveSession {
            id: SessionId(list.last),
            request,
            since: SystemTime::now(),
            began: Instant::now(),
            carried,
            ended: CancellationToken::new(),
        });
        list.live.insert(live.id, Arc::clone(&live));
        drop(list);
        let sessions = self.clone();
        Entry { sessions, live }
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session has carried.
#[derive(Debug, Default)]
struct Carried {
    up: AtomicU64,
    down: AtomicU64,
}

impl Carried {
    fn way(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl Meter for Carried {
    fn record(&self, direction: Direction, bytes: u64) {
        self.way(direction).fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Keeps a session in the list.
#[derive(Debug)]
pub(super) struct Entry {
    sessions: Sessions,
    pub(super) live: Arc<LiveSession>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let removed = self.sessions.lock().live.remove(&self.live.id);
        // What it holds may take a while to drop: not under the lock.
        drop(removed);
    }
}
