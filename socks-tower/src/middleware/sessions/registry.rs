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
    Request, Session, SessionId,
    policy::{Direction, Meter, Policy},
};

/// The live sessions. Its clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    list: Arc<Mutex<List>>,
}

#[derive(Default)]
struct List {
    /// By id, and so by age.
    live: BTreeMap<SessionId, Arc<LiveSession>>,
    /// By their own numbers.
    bans: BTreeMap<u64, Banned>,
    last_ban: u64,
}

type Banned = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("live", &self.live)
            .field("bans", &self.bans.len())
            .finish_non_exhaustive()
    }
}

/// Keeps sessions from being entered, until it is dropped. See
/// [`Sessions::ban`].
#[derive(Debug)]
#[must_use = "a ban is lifted when it is dropped"]
pub struct Ban {
    sessions: Sessions,
    number: u64,
}

impl Drop for Ban {
    fn drop(&mut self) {
        let ban = self.sessions.lock().bans.remove(&self.number);
        // What it holds is the user's: not under the lock.
        drop(ban);
    }
}

/// A session in the list: who, where to, since when, and what it has carried.
/// It may have ended since.
#[derive(Debug)]
pub struct LiveSession {
    request: Request,
    since: SystemTime,
    began: Instant,
    carried: Arc<Carried>,
    pub(super) ended: CancellationToken,
}

impl LiveSession {
    /// A session that begins now and is in no list: to test what goes by them.
    #[must_use]
    pub fn new(mut request: Request) -> Self {
        // Whoever keeps an entry keeps no quota of a session that has ended.
        request.session.policy = Policy::new();
        Self {
            request,
            since: SystemTime::now(),
            began: Instant::now(),
            carried: Arc::default(),
            ended: CancellationToken::new(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.request.session.id()
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

    /// The oldest of them, `most` at most.
    #[cfg(feature = "redis")]
    pub(crate) fn oldest(&self, most: usize) -> Vec<Arc<LiveSession>> {
        self.lock().live.values().take(most).cloned().collect()
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

    /// Ends all live sessions for which `which` says so; says how many.
    ///
    /// A session that has not come to this layer yet is not live: see
    /// [`ban`](Self::ban).
    pub fn end_where(&self, which: impl Fn(&LiveSession) -> bool) -> usize {
        let live = self.list();
        let ended = live.iter().filter(|live| which(live));
        ended.map(|live| live.end()).count()
    }

    /// Ends all live sessions whose request is `banned`, and refuses all that
    /// come, for as long as the [`Ban`] is kept: 02, SOCKS4's 91.
    ///
    /// It stands before it ends: of a user who is banned, none that is still
    /// negotiating slips through. `banned` is called under a lock: it must be
    /// quick.
    ///
    /// ```
    /// use socks_tower::middleware::Sessions;
    ///
    /// let sessions = Sessions::new();
    /// let ban = sessions.ban(|request| {
    ///     let identity = request.session.identity.as_ref();
    ///     identity.is_some_and(|identity| identity.as_str() == "joe")
    /// });
    /// // Joe has paid.
    /// drop(ban);
    /// ```
    pub fn ban(&self, banned: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Ban {
        let banned: Banned = Arc::new(banned);
        let mut list = self.lock();
        list.last_ban += 1;
        let number = list.last_ban;
        list.bans.insert(number, Arc::clone(&banned));
        drop(list);
        self.end_where(|live| banned(&live.request));
        Ban {
            sessions: self.clone(),
            number,
        }
    }

    /// Enters what is requested, and has its bytes counted; none if it is
    /// banned.
    pub(super) fn enter(&self, requested: &mut Request) -> Option<Entry> {
        let live = Arc::new(LiveSession::new(requested.clone()));
        let mut list = self.lock();
        if list.bans.values().any(|banned| banned(requested)) {
            return None;
        }
        // A session that comes to two layers with this list is listed once.
        let entered = list.live.entry(live.id());
        let first = Arc::clone(entered.or_insert_with(|| Arc::clone(&live)));
        drop(list);
        let owns = Arc::ptr_eq(&first, &live);
        if owns {
            let meter = Arc::clone(&live.carried);
            requested.session.policy.share_meter(meter);
        }
        Some(Entry {
            sessions: self.clone(),
            live: first,
            owns,
        })
    }

    /// Nothing of ours panics while it is held, and a ban that does leaves the
    /// list as it was.
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
    /// Whether it goes when this does.
    owns: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.owns {
            return;
        }
        let removed = self.sessions.lock().live.remove(&self.live.id());
        // What it holds may take a while to drop: not under the lock.
        drop(removed);
    }
}
