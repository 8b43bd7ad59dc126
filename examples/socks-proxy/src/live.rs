//! A stack that can be replaced while it serves.

use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tower::Service;

use crate::lock;

/// The newest of several stacks. Each connection goes to the one that stands when it comes,
/// and stays there.
#[derive(Clone)]
pub struct Live<S> {
    newest: Arc<Newest<S>>,
    version: u64,
    stack: S,
}

struct Newest<S> {
    version: AtomicU64,
    stack: Mutex<S>,
}

impl<S: Clone> Live<S> {
    pub fn new(stack: S) -> Self {
        let newest = Newest {
            version: AtomicU64::new(0),
            stack: Mutex::new(stack.clone()),
        };
        Self {
            newest: Arc::new(newest),
            version: 0,
            stack,
        }
    }

    /// Puts `stack` in the place of the one before, in all clones.
    pub fn replace(&self, stack: S) {
        let newest = &self.newest;
        let mut current = lock(&newest.stack);
        let old = mem::replace(&mut *current, stack);
        newest.version.fetch_add(1, Ordering::Release);
        drop(current);
        drop(old);
    }

    /// The newest, and its version, if it is not ours.
    fn newer(&self) -> Option<(u64, S)> {
        let newest = &self.newest;
        if newest.version.load(Ordering::Acquire) == self.version {
            return None;
        }
        let stack = lock(&newest.stack);
        Some((newest.version.load(Ordering::Acquire), stack.clone()))
    }
}

impl<R, S: Service<R> + Clone> Service<R> for Live<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Some((version, stack)) = self.newer() {
            (self.version, self.stack) = (version, stack);
        }
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        // A server readies its stack, and then waits for a connection, for hours maybe.
        if let Some((version, mut stack)) = self.newer() {
            let mut cx = Context::from_waker(Waker::noop());
            // Stages always are. One that is not has not been readied, and is not called.
            if let Poll::Ready(Ok(())) = stack.poll_ready(&mut cx) {
                (self.version, self.stack) = (version, stack);
            }
        }
        self.stack.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    fn says(
        what: &'static str,
    ) -> impl Service<(), Response = &'static str, Error = Infallible> + Clone {
        let what = Arc::new(what);
        service_fn(move |()| std::future::ready(Ok(*what)))
    }

    #[tokio::test]
    async fn one_that_waited_readied_has_the_newest_answer() {
        let live = Live::new(says("old"));
        let mut clone = live.clone();
        let readied = clone.ready().await.unwrap();
        live.replace(says("new"));
        assert_eq!(readied.call(()).await, Ok("new"));
        assert_eq!(live.oneshot(()).await, Ok("new"));
    }
}
