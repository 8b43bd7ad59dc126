//! How what a stage learns comes to those who watch its session.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use socks_core::{Username, v5::ReplyCode};
use tokio::time::Instant;

use super::{CarriedReport, Failure, Observer, Outcome, Record, StageKind, StageReport, Summary};
use crate::session::{
    Accepted, Datagrams, Error, Request, Session, Transfer,
    policy::{Direction, Meter},
};

/// Who watches a session, the innermost first: a null pointer if nobody does.
///
/// It travels with the session. `Session` is cloned from stage to stage, so
/// what one of them learns would not come back by a plain field.
#[derive(Clone, Default)]
pub(crate) struct Watch(Option<Arc<Watched>>);

/// A session, as one observer sees it.
struct Watched {
    observer: Arc<dyn Observer>,
    /// Those further out.
    outer: Watch,
    accepted_at: Instant,
    up: AtomicU64,
    down: AtomicU64,
    state: Mutex<State>,
}

struct State {
    record: Record,
    is_over: bool,
    has_panicked: bool,
}

impl Watched {
    /// An observer that panicked leaves nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Tells the observer, the first time.
    fn end(&self, outcome: Option<Result<&Transfer, &Error>>) {
        let mut state = self.state();
        if mem::replace(&mut state.is_over, true) {
            return;
        }
        let record = &mut state.record;
        // A relay of somebody else's tells nobody before.
        if let Some(Ok(Transfer {
            datagrams: Some(all),
            ..
        })) = outcome
        {
            let more = all.since(&record.datagrams.unwrap_or_default());
            note_datagrams(record, &more, &*self.observer);
        }
        let record = &state.record;
        let mut summary = Summary {
            record,
            up: self.up.load(Ordering::Relaxed),
            down: self.down.load(Ordering::Relaxed),
            datagrams: record.datagrams,
            duration: self.accepted_at.elapsed(),
            outcome: Outcome::Cut,
        };
        match outcome {
            Some(Ok(transfer)) => {
                summary.outcome = Outcome::Done(transfer.end);
                // A relay of somebody else's may tell no meter.
                summary.up = transfer.up;
                summary.down = transfer.down;
                summary.datagrams = transfer.datagrams;
            }
            Some(Err(error)) => summary.outcome = Outcome::Failed(Failure::new(error.as_said())),
            None if state.has_panicked => summary.outcome = Outcome::Panicked,
            None => {}
        }
        self.observer.ended(&summary);
    }
}

impl Meter for Watched {
    fn record(&self, direction: Direction, bytes: u64) {
        self.bytes(direction).fetch_add(bytes, Ordering::Relaxed);
        let report = CarriedReport::new(direction, bytes);
        self.observer.carried(&self.state().record, &report);
    }
}

impl Watch {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Lets each of them note something in its record, and hear of it.
    fn note(&self, note: impl Fn(&mut Record, &dyn Observer)) {
        let mut next = self;
        while let Some(watched) = &next.0 {
            let mut state = watched.state();
            if !state.is_over {
                note(&mut state.record, &*watched.observer);
            }
            drop(state);
            next = &watched.outer;
        }
    }

    /// Who the client says it is.
    pub(crate) fn claimed(&self, name: &Username) {
        self.note(|record, _| record.claimed = Some(name.clone()));
    }

    /// The session knows more than before.
    pub(crate) fn learn(&self, session: &Session) {
        self.note(|record, _| record.learn(session));
    }

    pub(crate) fn stage(&self, stage: StageKind, began: Instant, failed: bool) {
        let report = StageReport {
            stage,
            took: began.elapsed(),
            failed,
        };
        self.note(|record, observer| {
            record.add(stage, report.took);
            observer.stage(record, &report);
        });
    }

    /// The first time counts: behind a first stage that is not ours, it is the
    /// stage that answers the request.
    pub(crate) fn requested(&self, request: &Request) {
        self.note(|record, observer| {
            if record.command.is_some() {
                return;
            }
            record.learn(&request.session);
            record.command = Some(request.command);
            record.target = Some(request.target.clone());
            observer.requested(record);
        });
    }

    pub(crate) fn replied(&self, reply: ReplyCode) {
        self.note(|record, _| record.reply = Some(reply));
    }

    /// `upstream` is not asked, which may cost a system call, if nobody watches.
    pub(crate) fn established(&self, upstream: Option<&tokio::net::TcpStream>) {
        if self.is_none() {
            return;
        }
        let addr = upstream.and_then(|upstream| upstream.peer_addr().ok());
        self.note(|record, observer| {
            if let Some(addr) = addr {
                record.upstream_addr = Some(crate::session::canonical(addr));
            }
            record.established = true;
            observer.established(record);
        });
    }

    /// What stands at the other end of a stream that does not say so itself.
    #[cfg(feature = "http-forward")]
    pub(crate) fn leads_to(&self, addr: std::net::SocketAddr) {
        self.note(|record, _| record.upstream_addr = Some(addr));
    }

    /// The session is over, before whoever began to watch it is dropped.
    #[cfg(feature = "http-forward")]
    pub(crate) fn ended(&self, outcome: Result<&Transfer, &Error>) {
        let mut next = self;
        while let Some(watched) = &next.0 {
            watched.end(Some(outcome));
            next = &watched.outer;
        }
    }

    /// What an association has carried and dropped since it said so last.
    pub(crate) fn datagrams(&self, more: &Datagrams) {
        self.note(|record, observer| note_datagrams(record, more, observer));
    }
}

fn note_datagrams(record: &mut Record, more: &Datagrams, observer: &dyn Observer) {
    record.datagrams.get_or_insert_default().add(more);
    if !more.is_empty() {
        observer.datagrams(record, more);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Watch" } else { "Watch(..)" })
    }
}

/// Sees to it that a session's end is told, once, whatever that is.
pub(crate) struct Watching(Arc<Watched>);

impl Watching {
    /// Begins to watch a session on behalf of `observer`.
    pub(crate) fn begin<Io>(observer: &Arc<dyn Observer>, accepted: &mut Accepted<Io>) -> Self {
        Self::begin_at(accepted.accepted_at, observer, &mut accepted.session)
    }

    pub(crate) fn begin_at(
        accepted_at: Instant,
        observer: &Arc<dyn Observer>,
        session: &mut Session,
    ) -> Self {
        let record = Record::new(session);
        observer.accepted(&record);
        let watched = Arc::new(Watched {
            observer: Arc::clone(observer),
            outer: mem::take(&mut session.watch),
            accepted_at,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            state: Mutex::new(State {
                record,
                is_over: false,
                has_panicked: false,
            }),
        });
        // So that what a session has carried is known however it ends.
        session.policy.share_meter(Arc::clone(&watched) as _);
        session.watch = Watch(Some(Arc::clone(&watched)));
        Self(watched)
    }

    /// Begins to watch `session`, which is like another, on behalf of all who watch
    /// that one: the outermost first.
    #[cfg(feature = "http-forward")]
    pub(crate) fn begin_again(session: &mut Session) -> Vec<Self> {
        let mut observers = Vec::new();
        let watch = mem::take(&mut session.watch);
        let mut next = &watch;
        while let Some(watched) = &next.0 {
            // What this one carries is not the other's.
            session.policy.remove_meter(Arc::as_ptr(watched).cast());
            observers.push(&watched.observer);
            next = &watched.outer;
        }
        let now = Instant::now();
        let begin = |observer| Self::begin_at(now, observer, session);
        observers.into_iter().rev().map(begin).collect()
    }

    /// The session has come to an end by itself.
    pub(crate) fn ended(self, outcome: Result<&Transfer, &Error>) {
        self.0.end(Some(outcome));
    }

    /// Runs a part of the session. If that panics, so has the session.
    pub(crate) fn run<T>(this: Option<&Self>, part: impl FnOnce() -> T) -> T {
        /// Dropped by a panic alone.
        struct OnUnwind<'a>(Option<&'a Watching>);

        impl Drop for OnUnwind<'_> {
            fn drop(&mut self) {
                if let Some(watching) = self.0 {
                    watching.0.state().has_panicked = true;
                }
            }
        }

        let guard = OnUnwind(this);
        let output = part();
        mem::forget(guard);
        output
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.end(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_watched_pays_a_pointer_and_who_is_some_hundred_bytes() {
        assert_eq!(size_of::<Watch>(), size_of::<usize>());
        // Behind an `Arc`, and beside a policy of 150 bytes.
        let size = size_of::<Watched>();
        assert!(size <= 544, "{size}");
    }
}
