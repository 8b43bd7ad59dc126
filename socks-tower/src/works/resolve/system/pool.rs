//! Threads that block so that the runtime's need not.
//!
//! Not tokio's blocking pool: a runtime that ends waits for what runs there.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

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
    state: Mutex<State>,
    /// Told of each job, and of the end.
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Box<dyn Job>>,
    /// Jobs in the queue, and those that a thread is at.
    jobs: usize,
    threads: usize,
    closed: bool,
}

/// Something to do for somebody who waits for it.
trait Job: Send {
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>);
}

struct Lookup<F, T> {
    lookup: F,
    answer: oneshot::Sender<io::Result<T>>,
}

/// Why a lookup is not begun.
pub(super) enum Rejected {
    /// So many are running and waiting, as many as may be.
    Overloaded(usize),
    /// The system gives no thread.
    NoThread(io::Error),
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            limits,
            state: Mutex::default(),
            work: Condvar::new(),
        }))
    }

    /// Another pool.
    pub(super) fn with_limits(&self, change: impl FnOnce(Limits) -> Limits) -> Self {
        Self::new(change(self.0.limits))
    }

    /// Queues a lookup, and starts a thread if all are busy.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        lookup: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<oneshot::Receiver<io::Result<T>>, Rejected> {
        let Limits { threads, queue, .. } = self.0.limits;
        let limit = match threads {
            // Nobody would come to what waits.
            0 => 0,
            threads => threads.saturating_add(queue),
        };
        let mut state = self.0.lock();
        if state.jobs >= limit {
            state.discard_abandoned();
        }
        if state.jobs >= limit {
            return Err(Rejected::Overloaded(limit));
        }
        // With no more jobs than threads, one of them is free or about to be.
        if state.jobs >= state.threads && state.threads < threads {
            match self.0.spawn() {
                Ok(()) => state.threads += 1,
                // The threads that there are will come to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => return Err(Rejected::NoThread(error)),
            }
        }
        let (answer, receiver) = oneshot::channel();
        state.queue.push_back(Box::new(Lookup { lookup, answer }));
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
        self.queue.retain(|job| !job.is_abandoned());
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
                job.run();
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
}

impl<F, T> Job for Lookup<F, T>
where
    F: FnOnce() -> io::Result<T> + Send,
    T: Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(self: Box<Self>) {
        let Self { lookup, answer } = *self;
        if answer.is_closed() {
            return;
        }
        // A panic must not cost the pool a thread that it still counts.
        let looked_up = catch_unwind(AssertUnwindSafe(lookup))
            .unwrap_or_else(|_| Err(io::Error::other("the lookup panicked")));
        // Whoever waited may have gone meanwhile.
        let _ = answer.send(looked_up);
    }
}
