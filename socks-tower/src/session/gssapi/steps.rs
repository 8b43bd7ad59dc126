use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Context, GssApiError, Step};
use crate::session::threads::{Asker, Limits, Pool, Rejected, STACK};

/// The threads on which contexts are set up. Keys and tickets are read there, and a
/// client's library asks the KDC.
///
/// A thread is held for a step, and not while the other side's token is awaited.
#[derive(Debug)]
pub(crate) struct Steps(Pool<Turn, ()>);

/// A step that is to be done, by its place in memory: no two are the same.
#[derive(Clone)]
struct Turn(Arc<Mutex<Under>>);

/// A context under way.
struct Under {
    context: Box<dyn Context>,
    token: Vec<u8>,
    done: Option<Result<Step, GssApiError>>,
}

impl Turn {
    fn work(&self) {
        let mut under = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Under {
            context,
            token,
            done,
        } = &mut *under;
        *done = Some(context.step(token));
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Turn {}

impl Hash for Turn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl Steps {
    /// Up to `threads` at a time; as many wait as their tokens take some 64 MiB.
    pub(crate) fn new(name: &'static str, threads: usize) -> Self {
        let limits = Limits {
            name,
            threads,
            queue: 1024,
            stack: STACK,
        };
        let work = |turn: &Turn| {
            turn.work();
            Ok(())
        };
        Self(Pool::new(limits, Arc::new(work)))
    }

    pub(crate) fn with_threads(&self, threads: usize) -> Self {
        Self(self.0.with_limits(|limits| Limits { threads, ..limits }))
    }

    /// Takes `token` into `context` for `asker`.
    pub(crate) async fn step(
        &self,
        asker: &Asker,
        context: Box<dyn Context>,
        token: Vec<u8>,
    ) -> Result<(Box<dyn Context>, Step), GssApiError> {
        let done = None;
        let turn = Turn(Arc::new(Mutex::new(Under {
            context,
            token,
            done,
        })));
        let pending = self.0.submit(asker, turn.clone());
        let pending = pending.map_err(|rejected| match rejected {
            Rejected::Overloaded(_) => "too many contexts are being set up".into(),
            Rejected::NoThread(error) => GssApiError(format!("no thread: {error}")),
        })?;
        pending
            .await
            .map_err(|error| GssApiError(error.to_string()))?;
        // The pool has let go of it by now.
        let under = Arc::into_inner(turn.0).ok_or("the step is still under way")?;
        let under = under.into_inner().unwrap_or_else(PoisonError::into_inner);
        let step = under.done.ok_or("the step was not done")??;
        Ok((under.context, step))
    }
}
