use std::{fmt, sync::Arc, time::Duration};

use super::{Record, Summary};
use crate::session::{Datagrams, policy::Direction};

/// Is told what happens to sessions, by [`ObserveLayer`](crate::middleware::ObserveLayer).
///
/// Every method has a default that does nothing. They are called in the
/// session's task, or that of its bytes, some of them under the lock of its [`Record`], so they must
/// be quick, must not block and must not panic.
///
/// One observer serves all sessions. Of one session the calls come in the order
/// of the methods here, [`stage`](Self::stage), [`carried`](Self::carried) and
/// [`datagrams`](Self::datagrams) any number of times, and the rest once at most. To each `accepted` belongs
/// one `ended`, whatever becomes of the session, and nothing follows that.
pub trait Observer: Send + Sync + 'static {
    /// A connection was accepted.
    fn accepted(&self, record: &Record) {
        let _ = record;
    }

    /// A stage, or a work, is over.
    ///
    /// One that is given up, because of a timeout around it or the end of its
    /// session, has failed.
    fn stage(&self, record: &Record, report: &StageReport) {
        let _ = (record, report);
    }

    /// The client was let in, and what it wants is known.
    fn requested(&self, record: &Record) {
        let _ = record;
    }

    /// The request was granted: the tunnel, or the association, begins.
    fn established(&self, record: &Record) {
        let _ = record;
    }

    /// So many bytes more went this way, as a [`Meter`](crate::Meter) hears it.
    fn carried(&self, record: &Record, report: &CarriedReport) {
        let _ = (record, report);
    }

    /// A UDP association has carried and dropped so many datagrams more.
    ///
    /// It is told once for each wake-up that did either; what it has done in
    /// all stands in the [`Record`] already.
    fn datagrams(&self, record: &Record, more: &Datagrams) {
        let _ = (record, more);
    }

    /// The session is over, and its connections are closed.
    fn ended(&self, summary: &Summary<'_>) {
        let _ = summary;
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn accepted(&self, record: &Record) {
        O::accepted(self, record);
    }

    fn stage(&self, record: &Record, report: &StageReport) {
        O::stage(self, record, report);
    }

    fn requested(&self, record: &Record) {
        O::requested(self, record);
    }

    fn established(&self, record: &Record) {
        O::established(self, record);
    }

    fn carried(&self, record: &Record, report: &CarriedReport) {
        O::carried(self, record, report);
    }

    fn datagrams(&self, record: &Record, more: &Datagrams) {
        O::datagrams(self, record, more);
    }

    fn ended(&self, summary: &Summary<'_>) {
        O::ended(self, summary);
    }
}

/// How a stage, or a work, went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageReport {
    /// Which one.
    pub stage: StageKind,
    /// How long it took.
    pub took: Duration,
    /// Whether it failed, or was given up.
    pub failed: bool,
}

impl StageReport {
    /// A stage that went well.
    #[must_use]
    pub fn new(stage: StageKind, took: Duration) -> Self {
        Self {
            stage,
            took,
            failed: false,
        }
    }

    /// The same, failed.
    #[must_use]
    pub fn with_failed(mut self) -> Self {
        self.failed = true;
        self
    }
}

/// What was carried since the last time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CarriedReport {
    /// Which way.
    pub direction: Direction,
    /// How many bytes.
    pub bytes: u64,
}

impl CarriedReport {
    /// So many bytes that went this way.
    #[must_use]
    pub fn new(direction: Direction, bytes: u64) -> Self {
        Self { direction, bytes }
    }
}

/// What a session spends its time on before it carries bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StageKind {
    /// From the first stage's beginning to the client's greeting, or its whole
    /// request if that is what it begins with.
    Handshake,
    /// From the greeting to the request, the verifier's work included.
    Authenticate,
    /// A look-up of a name, by [`ResolveLayer`](crate::ResolveLayer).
    Resolve,
    /// A decision, by [`AuthorizeLayer`](crate::AuthorizeLayer).
    Authorize,
    /// The connector's whole work, the look-up and the decision included.
    Connect,
    /// BIND, from the request to the peer's arrival.
    Bind,
}

impl StageKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: &'static [Self] = &[
        Self::Handshake,
        Self::Authenticate,
        Self::Resolve,
        Self::Authorize,
        Self::Connect,
        Self::Bind,
    ];

    pub(super) const COUNT: usize = Self::ALL.len();

    /// A word for it, as logs and metrics want it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Authenticate => "authenticate",
            Self::Resolve => "resolve",
            Self::Authorize => "authorize",
            Self::Connect => "connect",
            Self::Bind => "bind",
        }
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
