//! Threads for tunnels that carry bulk, where nobody waits for a small answer.

use std::{cell::RefCell, sync::Arc};

use tokio::runtime::Handle;

/// The runtimes of such threads, as one of the threads that serve knows them.
#[derive(Clone, Debug)]
pub(crate) struct BulkThreads {
    runtimes: Arc<[Handle]>,
    /// Who is asked first: another one than the others who serve ask, who may come at
    /// the same moment.
    first: usize,
}

thread_local! {
    static OFFERED: RefCell<Option<BulkThreads>> = const { RefCell::new(None) };
}

impl BulkThreads {
    pub(crate) fn new(runtimes: Arc<[Handle]>, first: usize) -> Self {
        Self { runtimes, first }
    }

    /// Offers them to all tasks of this thread, if there are any.
    pub(crate) fn offer(self) {
        OFFERED.set(Some(self).filter(|it| !it.runtimes.is_empty()));
    }

    /// Those that this thread has been offered; none if it is ending.
    pub(crate) fn offered() -> Option<Self> {
        OFFERED.try_with(|it| it.borrow().clone()).ok().flatten()
    }

    /// Asked in a drop too, and so where the thread is ending.
    pub(crate) fn are_offered() -> bool {
        OFFERED.try_with(|it| it.borrow().is_some()) == Ok(true)
    }

    /// The one that has fewest tunnels.
    pub(crate) fn idlest(&self) -> Option<&Handle> {
        let by_turns = self.runtimes.iter().cycle().skip(self.first);
        let all = by_turns.take(self.runtimes.len());
        all.min_by_key(|runtime| runtime.metrics().num_alive_tasks())
    }
}
