use std::{sync::Arc, time::Duration};

use tower_service::Service;

use super::{RelayFuture, timeouts::Timeouts};
use crate::session::{Connected, Error, Stream, Transfer, always_ready};

/// Carries bytes both ways until the session ends. See the
/// [module's page](crate::stages::relay).
#[derive(Clone, Debug)]
pub struct Relay {
    timeouts: Arc<Timeouts>,
    splice: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

impl Relay {
    /// A relay with the default timeouts.
    #[must_use]
    pub fn new() -> Self {
        Self {
            timeouts: Arc::default(),
            splice: true,
        }
    }

    /// Whether bulk may go by `splice(2)`, where the feature `splice` and the
    /// system have it. By default it may.
    ///
    /// In a program that would die of SIGPIPE none does, whatever this says.
    #[must_use]
    pub fn with_splice(mut self, splice: bool) -> Self {
        self.splice = splice;
        self
    }

    /// How long a tunnel may stand in which nothing moves; `None` for as long
    /// as it likes. By default 2 hours and 4 minutes, as RFC 5382 wants it.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        Arc::make_mut(&mut self.timeouts).idle = timeout.into();
        self
    }

    /// How long a tunnel may stand in which one side is done and nothing moves
    /// the other way; `None` for as long as the idle timeout says. By default
    /// 5 minutes: many a client closes its socket without waiting for an
    /// answer, and its target never learns that nobody listens.
    #[must_use]
    pub fn with_half_closed_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        Arc::make_mut(&mut self.timeouts).half_closed = timeout.into();
        self
    }

    /// How long a tunnel may stand in all; `None`, the default, for as long as
    /// it likes.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        Arc::make_mut(&mut self.timeouts).lifetime = lifetime.into();
        self
    }
}

impl<Io: Stream, Up: Stream> Service<Connected<Io, Up>> for Relay {
    type Response = Transfer;
    type Error = Error;
    type Future = RelayFuture<Io, Up>;

    always_ready!();

    fn call(&mut self, connected: Connected<Io, Up>) -> Self::Future {
        RelayFuture::new(connected, Arc::clone(&self.timeouts), self.splice)
    }
}
