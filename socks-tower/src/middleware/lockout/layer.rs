use std::{error::Error as StdError, fmt, io, num::NonZeroU32, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    LockedOut, Lockout, LockoutGate,
    record::{LONGEST, Records, Terms},
};
use crate::session::{BoxError, ClientKey, Session, cause_of};

type Counts = Arc<dyn Fn(&BoxError) -> bool + Send + Sync>;

/// Locks out clients that fail to authenticate again and again. See the
/// [module's page](crate::middleware::lockout).
///
/// Its clones, and all that it is wrapped around, count together.
#[derive(Clone)]
pub struct LockoutLayer {
    terms: Terms,
    counts: Counts,
    records: Arc<Records>,
}

impl LockoutLayer {
    /// How many clients are kept in mind, unless set.
    const MAX_CLIENTS: usize = 65_536;

    /// Locks a client out after 5 failures, for a minute at first and for an
    /// hour at most, and forgets after 10 minutes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            terms: Terms {
                max_failures: 5,
                first: Duration::from_secs(60),
                longest: Duration::from_secs(60 * 60),
                memory: Duration::from_secs(10 * 60),
            },
            counts: Arc::new(is_the_client_s),
            records: Arc::new(Records::new(Self::MAX_CLIENTS)),
        }
    }

    /// How many failures lock a client out.
    #[must_use]
    pub fn with_max_failures(mut self, max: NonZeroU32) -> Self {
        self.terms.max_failures = max.get();
        self
    }

    /// For how long a client is locked out after that many failures; with each
    /// further one twice as long.
    #[must_use]
    pub fn with_first_lock(mut self, first: Duration) -> Self {
        self.terms.first = first;
        self
    }

    /// For how long a client is locked out at most.
    #[must_use]
    pub fn with_longest_lock(mut self, longest: Duration) -> Self {
        self.terms.longest = longest.min(LONGEST);
        self
    }

    /// How long after its last failure, or the end of its lock, a client is as
    /// good as new.
    #[must_use]
    pub fn with_forget_after(mut self, after: Duration) -> Self {
        self.terms.memory = after.min(LONGEST);
        self
    }

    /// Keeps at most `max` clients in mind. The layer counts anew, apart from
    /// its earlier clones.
    #[must_use]
    pub fn with_max_clients(mut self, max: usize) -> Self {
        self.records = Arc::new(Records::new(max));
        self
    }

    /// Counts those errors of the verifier for which `counts` says so.
    #[must_use]
    pub fn with_counted(
        mut self,
        counts: impl Fn(&BoxError) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.counts = Arc::new(counts);
        self
    }

    /// A layer for between the stages that turns away those that are locked
    /// out.
    #[must_use]
    pub fn gate(&self) -> LockoutGateLayer {
        LockoutGateLayer {
            lockout: self.clone(),
        }
    }

    pub(super) fn check(&self, session: &Session) -> Result<(), LockedOut> {
        match ClientKey::of_session(session) {
            Some(client) => self.records.check(client),
            None => Ok(()),
        }
    }

    pub(super) fn succeeded(&self, client: ClientKey) {
        self.records.succeeded(client);
    }

    pub(super) fn failed(&self, client: ClientKey, error: &BoxError) {
        if (self.counts)(error) {
            self.records.failed(client, &self.terms);
        }
    }
}

/// Whether a verifier's error says something of the client, and not of the
/// verifier.
fn is_the_client_s(error: &BoxError) -> bool {
    let nearest: &(dyn StdError + 'static) = &**error;
    let mut causes = std::iter::successors(Some(nearest), |error| cause_of(*error));
    !causes.any(|cause| {
        cause.is::<io::Error>()
            || cause.is::<tower::timeout::error::Elapsed>()
            || cause.is::<tokio::time::error::Elapsed>()
            || cause.is::<tower::load_shed::error::Overloaded>()
            || is_our_limit(cause)
    })
}

fn is_our_limit(cause: &(dyn StdError + 'static)) -> bool {
    let error = cause.downcast_ref::<crate::session::Error>();
    error.is_some_and(|error| error.kind() == crate::session::ErrorKind::Limited)
}

impl Default for LockoutLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LockoutLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockoutLayer")
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for LockoutLayer {
    type Service = Lockout<S>;

    fn layer(&self, inner: S) -> Lockout<S> {
        Lockout {
            lockout: self.clone(),
            inner,
        }
    }
}

/// Turns away clients that are locked out. See the
/// [module's page](crate::middleware::lockout); [`LockoutLayer::gate`] makes it.
#[derive(Clone, Debug)]
pub struct LockoutGateLayer {
    lockout: LockoutLayer,
}

impl<S> Layer<S> for LockoutGateLayer {
    type Service = LockoutGate<S>;

    fn layer(&self, inner: S) -> LockoutGate<S> {
        LockoutGate {
            lockout: self.lockout.clone(),
            inner,
        }
    }
}
