use std::{cell::OnceCell, fmt, sync::Arc, time::SystemTime};

/// What time it is for windows.
#[derive(Clone, Default)]
pub(super) struct Clock {
    /// The system's if there is none.
    other: Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>,
}

impl Clock {
    pub(super) fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            other: Some(Arc::new(now)),
        }
    }

    fn read(&self) -> SystemTime {
        self.other
            .as_ref()
            .map_or_else(SystemTime::now, |now| now())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// When a request is judged: one time for all its addresses, and read only if
/// a rule wants to know.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    clock: &'a Clock,
    time: OnceCell<SystemTime>,
}

impl<'a> Moment<'a> {
    pub(super) fn new(clock: &'a Clock) -> Self {
        Self {
            clock,
            time: OnceCell::new(),
        }
    }

    pub(super) fn time(&self) -> SystemTime {
        *self.time.get_or_init(|| self.clock.read())
    }
}
