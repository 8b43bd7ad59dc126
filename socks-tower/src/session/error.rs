//! Why a session ended early.

use std::{error::Error as StdError, fmt, io};

use socks_core::v5::ReplyCode;
use thiserror::Error as ThisError;

/// Any error: what middleware in a stack may fail with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The failure of a session: what failed, and why.
///
/// It is the error of every stage. [`Error::reply`] says what the client hears
/// of it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<BoxError>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client broke the protocol, or speaks another one.
    Protocol,
    /// The negotiation did not end before its deadline.
    Deadline,
    /// The client is not who it must be, or its verifier broke.
    Authentication,
    /// The target's name could not be looked up.
    Resolve,
    /// A rule forbids it.
    Denied,
    /// The authorizer broke.
    Authorize,
    /// The target could not be reached.
    Connect,
    /// The command is not served.
    Command,
    /// A limit was reached.
    Limited,
    /// The tunnel broke.
    Relay,
    /// The session was ended from outside.
    Ended,
    /// The client hung up.
    ClientGone,
    /// Something else, in a layer of the user's.
    Other,
}

impl ErrorKind {
    /// A word for it, as logs and metrics want it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Deadline => "deadline",
            Self::Authentication => "authentication",
            Self::Resolve => "resolve",
            Self::Denied => "denied",
            Self::Authorize => "authorize",
            Self::Connect => "connect",
            Self::Command => "command",
            Self::Limited => "limited",
            Self::Relay => "relay",
            Self::Ended => "ended",
            Self::ClientGone => "client_gone",
            Self::Other => "other",
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Protocol => "the client broke the protocol",
            Self::Deadline => "the negotiation took too long",
            Self::Authentication => "the client did not authenticate",
            Self::Resolve => "the name could not be resolved",
            Self::Denied => "denied by a rule",
            Self::Authorize => "the authorizer failed",
            Self::Connect => "the target could not be reached",
            Self::Command => "the command is not served",
            Self::Limited => "a limit was reached",
            Self::Relay => "the tunnel broke",
            Self::Ended => "the session was ended",
            Self::ClientGone => "the client hung up",
            Self::Other => "a layer failed",
        }
    }
}

impl Error {
    /// A failure of `kind`, because of `source`.
    pub fn new(kind: ErrorKind, source: impl Into<BoxError>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    pub(crate) fn bare(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// An `Error` stays what it is; anything else becomes [`ErrorKind::Other`].
    #[must_use]
    pub fn from_box(error: BoxError) -> Self {
        Self::of_work(ErrorKind::Other, error)
    }

    /// The error of a work: `kind` says which, unless it says so itself.
    pub(crate) fn of_work(kind: ErrorKind, error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(source) => Self {
                kind,
                source: Some(source),
            },
        }
    }

    /// A read or write on the client's stream failed.
    pub(crate) fn client(error: io::Error) -> Self {
        Self::new(ErrorKind::ClientGone, error)
    }

    /// The causes, from the nearest to the deepest.
    pub(crate) fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.source(), |error| cause_of(*error))
    }
}

/// One step along the chain. An `io::Error` made of another error skips that
/// one in its `source`, so step into it.
pub(crate) fn cause_of<'a>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a (dyn StdError + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// An error with all of its causes on one line. Nothing in it can begin
/// another.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        write!(f, "{}", last.escape_debug())?;
        for cause in std::iter::successors(cause_of(self.0), |error| cause_of(*error)) {
            let text = cause.to_string();
            // An `io::Error` prints as the error within it.
            if text != last {
                write!(f, ": {}", text.escape_debug())?;
            }
            last = text;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.describe())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A work's way to choose the reply: a code, and the reason, which stays with
/// us.
///
/// It is found through any middleware that keeps its `source`, and beats every
/// other rule for the reply.
///
/// ```
/// use socks_tower::{Refusal, ReplyCode};
///
/// fn check(port: u16) -> Result<(), Refusal> {
///     match port {
///         25 => Err(Refusal::new(ReplyCode::CONNECTION_NOT_ALLOWED, "no mail from here")),
///         _ => Ok(()),
///     }
/// }
/// # assert!(check(25).is_err());
/// ```
#[derive(Debug, ThisError)]
#[error("refused: {code}")]
pub struct Refusal {
    code: ReplyCode,
    source: BoxError,
}

impl Refusal {
    /// Refuses with `code`, because of `source`. A code that means success
    /// becomes [`ReplyCode::GENERAL_FAILURE`]: a refusal is none.
    pub fn new(code: ReplyCode, source: impl Into<BoxError>) -> Self {
        let code = match code {
            ReplyCode::SUCCEEDED => ReplyCode::GENERAL_FAILURE,
            code => code,
        };
        Self {
            code,
            source: source.into(),
        }
    }

    /// What the client hears.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        self.code
    }
}
