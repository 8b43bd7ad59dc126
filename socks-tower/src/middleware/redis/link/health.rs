use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{Outage, Unanswered};

/// Whether Redis answers, for all who ask.
pub(super) struct Health {
    state: watch::Sender<State>,
    /// A member has come.
    pub(super) joined: Notify,
    outage: Outage,
    told: Mutex<Told>,
    questions: AtomicU64,
    unanswered: AtomicU64,
    outages: AtomicU64,

    #[cfg(feature = "metrics")]
    series: series::Series,
}

#[derive(Clone)]
pub(super) enum State {
    /// Nobody has asked yet.
    Idle,
    /// It is connected for the first time: who asks waits.
    Connecting,
    /// It answers.
    Up(Connection),
    /// It has not answered, and may do so yet.
    Doubted,
    /// There is no connection, and there will be another.
    Gone,
    /// There will be none.
    Closed,
}

#[derive(Clone)]
pub(super) struct Connection {
    /// No other has it, of whichever task.
    pub(super) id: u64,
    pub(super) inner: MultiplexedConnection,
}

impl Connection {
    pub(super) fn new(inner: MultiplexedConnection) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let id = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { id, inner }
    }
}

/// What the log has heard of this outage.
#[derive(Default)]
struct Told {
    since: Option<Instant>,
    refused: bool,
    wrong: Option<Instant>,
}

/// What has become of the questions of a [`Redis`](super::Redis).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisNumbers {
    /// How many there were, the link's own too.
    pub questions: u64,
    /// How many of these had no answer in time, or were not put as Redis was gone.
    pub unanswered: u64,
    /// How often Redis went.
    pub outages: u64,
    /// Whether it answers now.
    pub is_up: bool,
}

impl Health {
    pub(super) fn new(outage: Outage) -> Self {
        Self {
            state: watch::Sender::new(State::Idle),
            joined: Notify::new(),
            outage,
            told: Mutex::default(),
            questions: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            series: series::Series::register(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(super) fn numbers(&self) -> RedisNumbers {
        RedisNumbers {
            questions: self.questions.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            outages: self.outages.load(Ordering::Relaxed),
            is_up: matches!(*self.state.borrow(), State::Up(_)),
        }
    }

    pub(super) fn count_question(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.series.questions.increment(1);
    }

    pub(super) fn count_unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.series.unanswered.increment(1);
    }

    /// The first question waits for the first connection.
    pub(super) fn connecting(&self) {
        self.change(State::Connecting, |state| matches!(state, State::Idle));
    }

    pub(super) fn up(&self, connection: Connection) {
        if !self.change(State::Up(connection), |state| {
            !matches!(state, State::Up(_) | State::Closed)
        }) {
            return;
        }
        #[cfg(feature = "metrics")]
        self.series.up.set(1.0);
        let Told { since, wrong, .. } = *self.told();
        *self.told() = Told {
            wrong,
            ..Told::default()
        };
        if let Some(since) = since {
            // As loud as its loss: whoever has read of that waits for this.
            tracing::warn!(after = ?since.elapsed(), "Redis answers again");
        }
    }

    /// A question on this connection had no answer.
    pub(super) fn unanswered(&self, id: u64, why: &Unanswered) {
        self.count_unanswered();
        if let Unanswered::Wrong(_) = why {
            self.wrong(why);
        }
        if why.is_of_all()
            && self.change(
                State::Doubted,
                |state| matches!(state, State::Up(up) if up.id == id),
            )
        {
            self.tell(why);
        }
    }

    /// There is no connection any more, or there was none. Says whether there was one that
    /// served.
    pub(super) fn gone(&self, why: &Unanswered) -> bool {
        let mut served = false;
        let is_gone = self.change(State::Gone, |state| {
            served = matches!(state, State::Up(_) | State::Doubted);
            !matches!(state, State::Closed)
        });
        if is_gone {
            self.tell(why);
        }
        served
    }

    pub(super) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    fn change(&self, to: State, from: impl FnOnce(&State) -> bool) -> bool {
        self.state.send_if_modified(|state| {
            let changes = from(state);
            if changes {
                *state = to;
            }
            changes
        })
    }

    /// Once when it goes, and once more when it is there and does no work.
    fn tell(&self, why: &Unanswered) {
        let mut told = self.told();
        let refuses = matches!(why, Unanswered::Refused(_) | Unanswered::Wrong(_));
        let is_first = told.since.is_none();
        if is_first {
            told.since = Some(Instant::now());
            self.outages.fetch_add(1, Ordering::Relaxed);
            #[cfg(feature = "metrics")]
            {
                self.series.outages.increment(1);
                self.series.up.set(0.0);
            }
        }
        if is_first || (refuses && !told.refused) {
            let until_then = match self.outage {
                Outage::CountAlone => "this node counts alone",
                Outage::Refuse => "what asks it is refused",
            };
            tracing::warn!(%why, until_then, "Redis does not answer");
        }
        told.refused |= refuses;
    }

    /// Once a minute at most.
    fn wrong(&self, why: &Unanswered) {
        const PERIOD: Duration = Duration::from_secs(60);
        let mut told = self.told();
        if told.wrong.is_none_or(|at| at.elapsed() >= PERIOD) {
            told.wrong = Some(Instant::now());
            tracing::warn!(%why, "Redis refuses a question");
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "metrics")]
mod series {
    use ::metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

    pub(super) struct Series {
        pub(super) questions: Counter,
        pub(super) unanswered: Counter,
        pub(super) outages: Counter,
        pub(super) up: Gauge,
    }

    impl Series {
        pub(super) fn register() -> Self {
            describe_counter!("socks_redis_questions_total", "Questions to Redis");
            describe_counter!(
                "socks_redis_unanswered_total",
                "Questions to Redis without an answer in time"
            );
            describe_counter!("socks_redis_outages_total", "How often Redis went");
            describe_gauge!("socks_redis_up", "Whether Redis answers");
            Self {
                questions: counter!("socks_redis_questions_total"),
                unanswered: counter!("socks_redis_unanswered_total"),
                outages: counter!("socks_redis_outages_total"),
                up: gauge!("socks_redis_up"),
            }
        }
    }
}
