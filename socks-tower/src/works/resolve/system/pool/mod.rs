//! Threads that block so that the runtime's need not.
//!
//! Not tokio's blocking pool: a runtime that ends waits for what runs there.

mod line;
mod shares;

use std::{
    fmt,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

pub(super) use line::Asker;
use line::Line;
use socks_core::Host;
use tokio::sync::oneshot;

use crate::works::resolve::question::Question;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// The addresses of a name, or the names of an address.
pub(super) type Answer = io::Result<Vec<Host>>;

/// What a thread does.
pub(super) type Ask = dyn Fn(&Host) -> Answer + Send + Sync;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Lookups that run at a time.
    pub(super) threads: usize,
    /// Lookups that wait for a thread.
    pub(super) queue: usize,
    /// Bytes of address space for a thread's stack.
    pub(super) stack: usize,
}

impl Limits {
    /// Lookups that run or wait.
    fn pending(&self) -> usize {
        match self.threads {
            // Nobody would come to what waits.
            0 => 0,
            threads => threads.saturating_add(self.queue),
        }
    }
}

/// The handle; when it is dropped, the threads end once nothing waits.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    ask: Arc<Ask>,
    limits: Limits,
    state: Mutex<State>,
    /// Told of each lookup, and of the end.
    work: Condvar,
}

struct State {
    line: Line,
    threads: usize,
    closed: bool,
}

/// Why a lookup is not begun.
pub(super) enum Rejected {
    /// The client has its part of the lookups that may run and wait.
    Overloaded(usize),
    /// The system gives no thread.
    NoThread(io::Error),
}

impl Pool {
    pub(super) fn new(limits: Limits, ask: Arc<Ask>) -> Self {
        Self(Arc::new(Shared {
            ask,
            limits,
            state: Mutex::new(State {
                line: Line::new(limits.threads, limits.pending()),
                threads: 0,
                closed: false,
            }),
            work: Condvar::new(),
        }))
    }

    /// Another pool.
    pub(super) fn with_limits(&self, change: impl FnOnce(Limits) -> Limits) -> Self {
        Self::new(change(self.0.limits), self.0.ask.clone())
    }

    /// Lookups that run or wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().line.len()
    }

    /// Has `question` answered for `asker`, and starts a thread if all are busy.
    pub(super) fn submit(&self, asker: &Asker, question: Question) -> Result<Pending, Rejected> {
        let limits = &self.0.limits;
        let mut state = self.0.lock();
        let Some((id, answer)) = state.line.join(asker, &question) else {
            return Err(Rejected::Overloaded(limits.pending()));
        };
        // With fewer lookups than threads, one of these is free or about to be.
        if state.line.len() > state.threads && state.threads < limits.threads {
            match self.0.spawn() {
                Ok(()) => state.threads += 1,
                // The threads that there are will come to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.line.leave(&question, id);
                    return Err(Rejected::NoThread(error));
                }
            }
        }
        drop(state);
        self.0.work.notify_one();
        Ok(Pending {
            shared: self.0.clone(),
            question,
            id,
            answer,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.limits.fmt(f)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; and the counts would be
        // right even so.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of the thread is dropped, so nobody waits for its end.
    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let shared = self.clone();
        thread::Builder::new()
            .name("socks-resolver".into())
            .stack_size(self.limits.stack)
            .spawn(move || shared.run())
            .map(drop)
    }

    /// What a thread does until it has been idle for long, or the pool ends.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some((asker, question)) = state.line.begin() {
                drop(state);
                // A panic must not cost the pool a thread that it still counts.
                let answer = catch_unwind(AssertUnwindSafe(|| (self.ask)(question.host())))
                    .unwrap_or_else(|_| Err(io::Error::other("the lookup panicked")));
                state = self.lock();
                state.line.end(&asker, &question, answer);
            } else if state.closed {
                break;
            } else {
                let (guard, wait) = self
                    .work
                    .wait_timeout(state, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                state = guard;
                if wait.timed_out() && state.line.len() == 0 {
                    break;
                }
            }
        }
        state.threads -= 1;
    }
}

/// A lookup that somebody waits for. Dropping it withdraws the lookup, if nobody
/// else waits for it and it has not begun.
pub(super) struct Pending {
    shared: Arc<Shared>,
    question: Question,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        // A thread answers every lookup that somebody waits for.
        Poll::Ready(answer.unwrap_or_else(|gone| Err(io::Error::other(gone))))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.lock().line.leave(&self.question, self.id);
    }
}
