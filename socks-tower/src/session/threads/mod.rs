//! Threads that block so that the runtime's need not, and that clients share.
//!
//! Not tokio's blocking pool: a runtime that ends waits for what runs there, and
//! whoever asks most has most of it.

mod line;
mod shares;

use std::{
    fmt,
    future::Future,
    hash::Hash,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

pub(crate) use line::Asker;
use line::Line;
use tokio::sync::oneshot;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// Rust's own default. Modules of the system (LDAP's, `systemd`'s) run on it too;
/// what they do not touch costs address space alone.
pub(crate) const STACK: usize = 2 * 1024 * 1024;

/// What a question is answered.
pub(crate) type Answer<A> = io::Result<A>;

/// What a thread does.
pub(crate) type Ask<Q, A> = dyn Fn(&Q) -> Answer<A> + Send + Sync;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The threads' name, which is the same for all of them.
    pub(crate) name: &'static str,
    /// Jobs that run at a time.
    pub(crate) threads: usize,
    /// Questions that wait for a thread.
    pub(crate) queue: usize,
    /// Bytes of address space for a thread's stack.
    pub(crate) stack: usize,
}

impl Limits {
    /// Questions that run or wait.
    fn pending(&self) -> usize {
        match self.threads {
            // Nobody would come to what waits.
            0 => 0,
            threads => threads.saturating_add(self.queue),
        }
    }
}

/// The handle; when it is dropped, the threads end once nothing waits.
pub(crate) struct Pool<Q: Question, A: Clone>(Arc<Shared<Q, A>>);

/// What is asked. Those who ask the same at the same time have it answered once.
pub(crate) trait Question: Clone + Eq + Hash + Send + 'static {}

impl<Q: Clone + Eq + Hash + Send + 'static> Question for Q {}

struct Shared<Q, A> {
    ask: Arc<Ask<Q, A>>,
    limits: Limits,
    state: Mutex<State<Q, A>>,
    /// Told of each question, and of the end.
    work: Condvar,
}

struct State<Q, A> {
    line: Line<Q, A>,
    threads: usize,
    closed: bool,
}

/// Why a question is not asked.
pub(crate) enum Rejected {
    /// The client has its part of the questions that may run and wait.
    Overloaded(usize),
    /// The system gives no thread.
    NoThread(io::Error),
}

impl<Q: Question, A: Clone + Send + 'static> Pool<Q, A> {
    pub(crate) fn new(limits: Limits, ask: Arc<Ask<Q, A>>) -> Self {
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
    pub(crate) fn with_limits(&self, change: impl FnOnce(Limits) -> Limits) -> Self {
        Self::new(change(self.0.limits), self.0.ask.clone())
    }

    /// Jobs that run or wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().line.len()
    }

    /// Has `question` answered for `asker`, and starts a thread if all are busy.
    pub(crate) fn submit(&self, asker: &Asker, question: Q) -> Result<Pending<Q, A>, Rejected> {
        let limits = &self.0.limits;
        let mut state = self.0.lock();
        let Some((id, answer)) = state.line.join(asker, &question) else {
            return Err(Rejected::Overloaded(limits.pending()));
        };
        // With fewer jobs than threads, one of these is free or about to be.
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

impl<Q: Question, A: Clone> Drop for Pool<Q, A> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl<Q: Question, A: Clone> fmt::Debug for Pool<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.limits.fmt(f)
    }
}

impl<Q, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        // Nothing panics while it holds the lock; and the counts would be
        // right even so.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Question, A: Clone + Send + 'static> Shared<Q, A> {
    /// The handle of the thread is dropped, so nobody waits for its end.
    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let shared = self.clone();
        thread::Builder::new()
            .name(self.limits.name.into())
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
                let answer = catch_unwind(AssertUnwindSafe(|| (self.ask)(&question)))
                    .unwrap_or_else(|_| Err(io::Error::other("the job panicked")));
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

/// An answer that somebody waits for. Dropping it withdraws the question, if nobody
/// else asks it and it has not begun.
pub(crate) struct Pending<Q: Question, A: Clone> {
    shared: Arc<Shared<Q, A>>,
    question: Q,
    id: u64,
    answer: oneshot::Receiver<Answer<A>>,
}

impl<Q: Question + Unpin, A: Clone> Future for Pending<Q, A> {
    type Output = Answer<A>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<A>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        // A thread answers every question that somebody waits for.
        Poll::Ready(answer.unwrap_or_else(|gone| Err(io::Error::other(gone))))
    }
}

impl<Q: Question, A: Clone> Drop for Pending<Q, A> {
    fn drop(&mut self) {
        self.shared.lock().line.leave(&self.question, self.id);
    }
}
