use std::{fmt, time::Duration};

use super::{Record, Summary};
use crate::session::policy::Direction;

/// Is told what happens to sessions, by [`ObserveLayer`](crate::middleware::ObserveLayer).
///
/// Every method has a default that does nothing. They are called in the
/// session's task, some of them under the lock of its [`Record`], so they must
/// be quick, must not block and must not panic.
///
/// One observer serves all sessions. Of one session the calls come in the order
/// of the methods here, [`stage`](Self::stage) and [`carried`](Self::carried)
/// any number of times, and the rest once at most. To each `accepted` belongs
/// one `ended`, whatever becomes of the session, and nothing follows that.
pub trait Observer: Send + Sync + 'static {
    /// A connection was accepted.
    fn accepted(&self, record: &Record) {
        let _ = record;
    }

    /// A stage, or a work, is over: it took so long, and failed or not.
    ///
    /// One that is given up, because of a timeout around it or the end of its
    /// session, has failed.
    fn stage(&self, record: &Record, stage: StageKind, took: Duration, failed: bool) {
        let _ = (record, stage, took, failed);
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
    fn carried(&self, direction: Direction, bytes: u64) {
        let _ = (direction, bytes);
    }

    /// The session is over, and its connections are closed.
    fn ended(&self, summary: &Summary<'_>) {
        let _ = summary;
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
    pub const ALL: [Self; 6] = [
        Self::Handshake,
        Self::Authenticate,
        Self::Resolve,
        Self::Authorize,
        Self::Connect,
        Self::Bind,
    ];

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
