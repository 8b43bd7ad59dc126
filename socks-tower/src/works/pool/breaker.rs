use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::session::{BoxError, Chain, later};

/// Whoever has served so shortly before a try is not one that does not answer.
const MEANWHILE: Duration = Duration::from_secs(1);

/// When an upstream that fails is left alone, and for how long.
///
/// After so many failures in a row it is out: no request goes to it. Once the pause
/// is over, one request may try it, and brings it back or puts it out again, for twice
/// as long. Where [probes](super::UpstreamPool::probe) run, no request is the one to
/// try: a probe brings it back.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    failures: NonZeroU32,
    first_pause: Duration,
    longest_pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Breaker {
    /// Three failures in a row, five seconds, at most thirty.
    ///
    /// One failure may be the network's, and three requests are not lost: each goes on
    /// to another upstream. A trial costs a client at most half of the pool's
    /// time-out, so that should be few; and whoever is back should not wait for long.
    #[must_use]
    pub fn new() -> Self {
        Self {
            failures: NonZeroU32::MIN.saturating_add(2),
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(30),
        }
    }

    /// How many failures in a row put an upstream out: 3, unless set.
    #[must_use]
    pub fn with_failures(mut self, failures: NonZeroU32) -> Self {
        self.failures = failures;
        self
    }

    /// How long it is out at first, and at most: 5 and 30 seconds, unless set.
    #[must_use]
    pub fn with_pause(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest.max(first);
        self
    }

    /// How long an upstream is out that was out so many times in a row before.
    fn pause(&self, before: u32) -> Duration {
        let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        let pause = self.first_pause.saturating_mul(factor);
        pause.min(self.longest_pause)
    }
}

/// How an upstream does, and what it has to do.
#[derive(Debug)]
pub(super) struct Health {
    name: Arc<str>,
    /// Tunnels, and tries for some.
    live: AtomicUsize,
    /// As the state says: so that most requests need no lock.
    is_out: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row, while it is in.
    failures: u32,
    /// When it may be tried again; none while it is in.
    out_until: Option<Instant>,
    /// How many times in a row it was put out.
    outs: u32,
    is_on_trial: bool,
    /// When it has last done what it is there for.
    served: Option<Instant>,
}

impl Health {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            live: AtomicUsize::new(0),
            is_out: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out.load(Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may go there, as one may be on trial if there are `trials`.
    pub(super) fn takes(&self, now: Instant, trials: bool) -> bool {
        !self.is_out() || (trials && self.state().is_up_for_trial(now))
    }

    /// Begins a try, unless it has become impossible since it was asked.
    pub(super) fn begin(self: &Arc<Self>, now: Instant, trials: bool) -> Option<Try> {
        let mut trial = None;
        if self.is_out() {
            let mut state = self.state();
            // It may have come back.
            if state.out_until.is_some() {
                if !trials || !state.is_up_for_trial(now) {
                    return None;
                }
                state.is_on_trial = true;
                trial = Some(Trial(Arc::clone(self)));
            }
        }
        self.live.fetch_add(1, Relaxed);
        let live = Live(Arc::clone(self));
        Some(Try {
            live,
            trial,
            began: now,
        })
    }

    /// It has served, as a request on trial or a probe has found: it is in.
    pub(super) fn restore(&self) {
        let mut state = self.state();
        let was_out = state.out_until.is_some();
        *state = State {
            served: Some(Instant::now()),
            ..State::default()
        };
        self.is_out.store(false, Relaxed);
        drop(state);
        if was_out {
            // As loud as its loss: whoever has read of that waits for this.
            tracing::warn!(upstream = %self.name, "upstream is back");
        }
    }

    /// One more failure. While it is out, only that of a trial counts.
    pub(super) fn fail(&self, breaker: &Breaker, is_trial: bool, error: &BoxError) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let is_first = state.out_until.is_none();
        let puts_out = is_first && state.failures >= breaker.failures.get();
        if !puts_out && !is_trial {
            return;
        }
        let pause = breaker.pause(state.outs);
        state.outs = state.outs.saturating_add(1);
        state.out_until = Some(later(Instant::now(), pause));
        state.is_on_trial = false;
        self.is_out.store(true, Relaxed);
        drop(state);
        let error = Chain(&**error);
        if is_first {
            tracing::warn!(upstream = %self.name, ?pause, %error, "upstream is out");
        } else {
            tracing::debug!(upstream = %self.name, ?pause, %error, "upstream is still out");
        }
    }
}

impl State {
    fn is_up_for_trial(&self, now: Instant) -> bool {
        !self.is_on_trial && self.out_until.is_some_and(|until| until <= now)
    }
}

/// One more tunnel of an upstream, until it is dropped.
#[derive(Debug)]
pub(super) struct Live(Arc<Health>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
    }
}

/// A try that nobody has judged yet. A client that hangs up judges nothing.
#[derive(Debug)]
pub(super) struct Try {
    live: Live,
    trial: Option<Trial>,
    began: Instant,
}

/// The trial of an upstream that is out, until it is dropped.
#[derive(Debug)]
struct Trial(Arc<Health>);

impl Try {
    pub(super) fn name(&self) -> &Arc<str> {
        &self.live.0.name
    }

    /// The upstream has done what it is there for, whatever became of the request.
    /// What it gives back counts the tunnel until that ends.
    pub(super) fn succeed(self) -> Live {
        let Self { live, trial, .. } = self;
        // One that is out is not brought back by what was begun before.
        if trial.is_some() || !live.0.is_out() {
            live.0.restore();
        }
        live
    }

    /// Whether the upstream has served others meanwhile: then it is something about the
    /// target that it gave no answer, and whoever asks for such targets puts nobody out.
    pub(super) fn is_answering(&self) -> bool {
        let served = self.live.0.state().served;
        served.is_some_and(|served| self.began < served + MEANWHILE)
    }

    /// The upstream is to blame.
    pub(super) fn fail(self, breaker: &Breaker, error: &BoxError) {
        let Self { live, trial, .. } = self;
        let is_trial = trial.is_some();
        drop(trial);
        live.0.fail(breaker, is_trial, error);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.state().is_on_trial = false;
    }
}
