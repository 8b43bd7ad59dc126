//! Whether the threads that serve go on.

use std::{
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tower::Service;

use crate::lock;

/// When each thread was last seen to go on.
#[derive(Clone)]
pub struct Beats {
    every: Duration,
    of_threads: Arc<Mutex<Vec<Weak<Mutex<Instant>>>>>,
}

impl Beats {
    /// Threads are to be seen so often.
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            of_threads: Arc::default(),
        }
    }

    /// All were seen within that time. Those that have ended are not asked.
    pub fn all_since(&self, time: Duration) -> bool {
        let mut of_threads = lock(&self.of_threads);
        of_threads.retain(|beat| beat.strong_count() > 0);
        let mut live = of_threads.iter().filter_map(Weak::upgrade);
        live.all(|beat| lock(&beat).elapsed() <= time)
    }

    fn begin(&self) -> Beat {
        let last = Arc::new(Mutex::new(Instant::now()));
        lock(&self.of_threads).push(Arc::downgrade(&last));
        let mut ticks = tokio::time::interval(self.every);
        Beat(tokio::spawn(async move {
            loop {
                ticks.tick().await;
                *lock(&last) = Instant::now();
            }
        }))
    }
}

/// The stack of each thread, which has its thread seen from when it is first readied.
pub struct Beating<S> {
    inner: S,
    /// None if nobody looks.
    beats: Option<Beats>,
    beat: Option<Beat>,
}

/// Ends as its stack does.
struct Beat(JoinHandle<()>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<S> Beating<S> {
    pub fn new(inner: S, beats: Option<Beats>) -> Self {
        Self {
            inner,
            beats,
            beat: None,
        }
    }
}

impl<S: Clone> Clone for Beating<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.beats.clone())
    }
}

impl<R, S: Service<R>> Service<R> for Beating<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.beat.is_none() {
            self.beat = self.beats.as_ref().map(Beats::begin);
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready, thread};

    use tower::{ServiceExt, service_fn};

    use super::*;

    const EVERY: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_thread_that_does_not_go_on_is_seen() {
        let beats = Beats::new(EVERY);
        let stack = service_fn(|()| ready(Ok::<_, Infallible>(())));
        let mut stack = Beating::new(stack, Some(beats.clone()));
        stack.ready().await.unwrap();
        tokio::time::sleep(10 * EVERY).await;
        assert!(beats.all_since(Duration::from_secs(60)));
        // Nothing else runs on this one's runtime.
        thread::sleep(5 * EVERY);
        assert!(!beats.all_since(4 * EVERY));
        // What has ended is not missed.
        drop(stack);
        tokio::task::yield_now().await;
        assert!(beats.all_since(Duration::ZERO));
    }
}
