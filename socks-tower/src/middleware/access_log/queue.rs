//! A sink may block: it has a thread of its own.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{error, warn};

/// Takes lines and never waits. Dropping it waits until they are written, but
/// not for long.
pub(super) struct Queue {
    /// None only while it is dropped.
    lines: Option<SyncSender<String>>,
    /// Nothing comes; closed when the thread has ended.
    ended: Mutex<Receiver<Infallible>>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// Lines that may wait: a few megabytes at most, and what a busy proxy
    /// logs in a second.
    pub(super) const MAX_WAITING: usize = 4096;

    /// At a program's end. A sink that takes longer is stuck.
    const PATIENCE: Duration = Duration::from_secs(1);

    pub(super) fn new(sink: impl FnMut(&str) + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel(Self::MAX_WAITING);
        let (end, ended) = sync_channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut thread = Thread {
            sink,
            dropped: Arc::clone(&dropped),
            told: 0,
            told_at: None,
        };
        let run = move || {
            thread.run(&waiting);
            drop(end);
        };
        let name = "access-log".to_owned();
        if let Err(error) = thread::Builder::new().name(name).spawn(run) {
            error!(%error, "no thread for the access log: all of its lines are dropped");
        }
        Self {
            lines: Some(lines),
            ended: Mutex::new(ended),
            dropped,
        }
    }

    pub(super) fn push(&self, line: String) {
        let taken = self.lines.as_ref().map(|lines| lines.try_send(line));
        if !matches!(taken, Some(Ok(()))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.lines = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Self::PATIENCE) {
            error!("access log: the last lines are not written, its sink is stuck");
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

struct Thread<F> {
    sink: F,
    dropped: Arc<AtomicU64>,
    /// Of those, how many the log has been told of, and when.
    told: u64,
    told_at: Option<Instant>,
}

impl<F: FnMut(&str)> Thread<F> {
    /// Between two warnings.
    const PAUSE: Duration = Duration::from_secs(10);

    /// To wake this thread costs more than to write a line, so let several gather: a
    /// sleeper that knows when to go on need not be woken.
    const GATHER: Duration = Duration::from_millis(5);

    fn run(&mut self, waiting: &Receiver<String>) {
        while let Ok(first) = waiting.recv() {
            self.write(&first);
            waiting.try_iter().for_each(|line| self.write(&line));
            thread::sleep(Self::GATHER);
        }
        self.tell();
    }

    fn write(&mut self, line: &str) {
        // A panic costs its line, as one in a session's task costs that.
        if catch_unwind(AssertUnwindSafe(|| (self.sink)(line))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let is_time = |at: Instant| at.elapsed() >= Self::PAUSE;
        if self.told != self.dropped.load(Ordering::Relaxed) && self.told_at.is_none_or(is_time) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped != self.told {
            let lines = dropped - self.told;
            warn!(lines, "access log: lines were dropped");
            self.told = dropped;
            self.told_at = Some(Instant::now());
        }
    }
}
