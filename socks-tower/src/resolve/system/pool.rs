//! Threads that block so that the runtime's need not.
//!
//! Not tokio's blocking pool: a runtime that ends waits for what runs there.

use std::{
    collections::VecDeque,
    fmt, io,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use socks_core::DomainName;
use tokio::sync::oneshot;

use super::LookupError;

pub(super) type Answer = Result<Vec<IpAddr>, LookupError>;
pub(super) type Lookup = dyn Fn(&DomainName) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Lookups that run at a time.
    pub(super) threads: usize,
    /// Lookups that wait for a thread.
    pub(super) queue: usize,
    /// Bytes of address space for a thread's stack.
    pub(super) stack: usize,
}

/// The handle; when it is dropped, the threads end once the queue is empty.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    limits: Limits,
    lookup: Arc<Lookup>,
    state: Mutex<State>,
    /// Told of each job, and of the end.
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Jobs in the queue, and those that a thread is at.
    jobs: usize,
    threads: usize,
    closed: bool,
}

struct Job {
    name: DomainName,
    answer: oneshot::Sender<Answer>,
}

impl Pool {
    pub(super) fn new(limits: Limits, lookup: Arc<Lookup>) -> Self {
        Self(Arc::new(Shared {
            limits,
            lookup,
            state: Mutex::default(),
            work: Condvar::new(),
        }))
    }

    /// Another pool with the same lookup.
    pub(super) fn with_limits(&self, change: impl FnOnce(Limits) -> Limits) -> Self {
        Self::new(change(self.0.limits), self.0.lookup.clone())
    }

    /// Queues a lookup, and starts a thread if all are busy.
    pub(super) fn submit(
        &self,
        name: DomainName,
    ) -> Result<oneshot::Receiver<Answer>, LookupError> {
        let Limits { threads, queue, .. } = self.0.limits;
        let limit = threads.saturating_add(queue);
        let mut state = self.0.lock();
        if state.jobs >= limit {
            state.discard_abandoned();
        }
        if state.jobs >= limit {
            return Err(LookupError::Overloaded { name, limit });
        }
        // With no more jobs than threads, one of them is free or about to be.
        if state.jobs >= state.threads && state.threads < threads {
            match self.0.spawn() {
                Ok(()) => state.threads += 1,
                // The threads that there are will come to it.
                Err(_) if state.threads > 0 => {}
                Err(source) => return Err(LookupError::NoThread { name, source }),
            }
        }
        let (answer, receiver) = oneshot::channel();
        state.queue.push_back(Job { name, answer });
        state.jobs += 1;
        drop(state);
        self.0.work.notify_one();
        Ok(receiver)
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

impl State {
    /// Callers that have gone must not keep others out.
    fn discard_abandoned(&mut self) {
        let before = self.queue.len();
        self.queue.retain(|job| !job.answer.is_closed());
        self.jobs -= before - self.queue.len();
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
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                self.answer(job);
                state = self.lock();
                state.jobs -= 1;
            } else if state.closed {
                break;
            } else {
                let (guard, wait) = self
                    .work
                    .wait_timeout(state, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                state = guard;
                if wait.timed_out() && state.queue.is_empty() {
                    break;
                }
            }
        }
        state.threads -= 1;
    }

    fn answer(&self, Job { name, answer }: Job) {
        if answer.is_closed() {
            return;
        }
        // A panic must not cost the pool a thread that it still counts.
        let looked_up = catch_unwind(AssertUnwindSafe(|| (self.lookup)(&name)));
        let looked_up = match looked_up {
            Ok(Ok(addrs)) if addrs.is_empty() => Err(LookupError::NotFound { name }),
            Ok(Ok(addrs)) => Ok(addrs),
            Ok(Err(source)) => Err(LookupError::from_system(name, source)),
            Err(_) => Err(LookupError::Failed {
                name,
                source: io::Error::other("the lookup panicked"),
            }),
        };
        // Whoever waited may have gone meanwhile.
        let _ = answer.send(looked_up);
    }
}
