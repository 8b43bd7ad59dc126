//! Why a session ended early.

use std::{error::Error as StdError, fmt, io, num::NonZeroU32, time::Duration};

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
    /// None if nobody has said it yet: the work whose error it is, further out,
    /// will.
    kind: Option<ErrorKind>,
    /// In seconds: small, for it is in every result of a stage.
    retry_after: Option<NonZeroU32>,
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
    /// A rule forbids it, or a [`Refusal`] of a work.
    Denied,
    /// The authorizer broke.
    Authorize,
    /// The target could not be reached.
    Connect,
    /// The proxy that should have reached the target failed, or would not have us.
    Upstream,
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
            Self::Upstream => "upstream",
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
            Self::Upstream => "the upstream proxy failed",
            Self::Command => "the command is not served",
            Self::Limited => "a limit was reached",
            Self::Relay => "the tunnel broke",
            Self::Ended => "the session was ended",
            Self::ClientGone => "the client hung up",
            Self::Other => "a layer failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// A failure of `kind`, because of `source`.
    ///
    /// A layer fails with one to say what failed, and so what the client hears: of
    /// [`ErrorKind::Denied`] it hears 02 and reads in no log that the layer broke.
    /// With another code, and the right kind, a [`Refusal`] is the source:
    ///
    /// ```
    /// use socks_tower::{Error, ErrorKind, Refusal, ReplyCode};
    ///
    /// let closed = Error::new(ErrorKind::Denied, "closed on Sundays");
    /// assert_eq!(closed.reply(), ReplyCode::CONNECTION_NOT_ALLOWED); // 02
    ///
    /// let full = Refusal::ttl_expired("no upstream is free");
    /// let full = Error::new(ErrorKind::Limited, full);
    /// assert_eq!(full.reply(), ReplyCode::TTL_EXPIRED); // 06, and `limited` in the log
    /// ```
    pub fn new(kind: ErrorKind, source: impl Into<BoxError>) -> Self {
        Self {
            kind: Some(kind),
            retry_after: None,
            source: Some(source.into()),
        }
    }

    pub(crate) fn bare(kind: ErrorKind) -> Self {
        Self {
            kind: Some(kind),
            retry_after: None,
            source: None,
        }
    }

    /// It may go better after `time`, in whole seconds, at least one. HTTP clients
    /// are told (`Retry-After`); SOCKS has no word for it.
    #[must_use]
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        let begun = u64::from(time.subsec_nanos() > 0);
        let seconds = time.as_secs().saturating_add(begun).max(1);
        self.retry_after = NonZeroU32::new(seconds.try_into().unwrap_or(u32::MAX));
        self
    }

    /// When it may go better: as this says, or the first of our errors within.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let within = |cause: &(dyn StdError + 'static)| cause.downcast_ref::<Self>()?.retry_after;
        let seconds = self
            .retry_after
            .or_else(|| self.causes().find_map(within))?;
        Some(Duration::from_secs(seconds.get().into()))
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind.unwrap_or(ErrorKind::Other)
    }

    /// What failed, if somebody has said so.
    pub(crate) fn named(&self) -> Option<ErrorKind> {
        self.kind
    }

    /// An `Error` stays what it is. Anything else is of kind
    /// [`ErrorKind::Other`], unless it passes a stage that knows better: what
    /// comes out of a connector, through whatever layers, is
    /// [`ErrorKind::Connect`] behind [`ConnectLayer`](crate::ConnectLayer).
    #[must_use]
    pub fn from_box(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(source) => Self {
                kind: None,
                retry_after: None,
                source: Some(source),
            },
        }
    }

    /// The error of a work: `kind` says which, unless it says so itself. A
    /// [`Refusal`] was meant, and is no breakage.
    pub(crate) fn of_work(kind: ErrorKind, error: BoxError) -> Self {
        let mut error = Self::from_box(error);
        if error.kind.is_none() {
            error.kind = Some(match (error.refusal(), kind) {
                // Somebody further out could not reach the target either.
                (Some(3..=6 | 0xf0..), ErrorKind::Connect) => kind,
                // A verifier's no.
                (Some(_), ErrorKind::Authentication) => kind,
                (Some(_), _) => ErrorKind::Denied,
                (None, _) => kind,
            });
        }
        error
    }

    /// A read or write on the client's stream failed.
    pub(crate) fn client(error: io::Error) -> Self {
        Self::new(ErrorKind::ClientGone, error)
    }

    /// What a layer between others passes on: an `Error` stays what it is.
    pub(crate) fn passed(error: impl Into<BoxError>) -> Self {
        Self::from_box(error.into())
    }

    /// The causes, from the nearest to the deepest.
    pub(crate) fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.get_ref(), |error| cause_of(*error))
    }

    /// The code of a [`Refusal`] among the causes, before another of our errors.
    fn refusal(&self) -> Option<u8> {
        let mut own = self.causes().take_while(|cause| !cause.is::<Self>());
        let refusal = own.find_map(|cause| cause.downcast_ref::<Refusal>())?;
        Some(refusal.code.0)
    }

    /// The error that this was made of, whatever its kind.
    #[must_use]
    pub fn get_ref(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }

    /// The error itself; if it is but somebody else's, that.
    pub(crate) fn as_said(&self) -> &(dyn StdError + 'static) {
        match (self.kind, &self.source) {
            (None, Some(source)) => &**source,
            _ => self,
        }
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

/// An `io::Error` is no `Clone`.
pub(crate) fn copy_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Whether a work's error says that the work was in trouble, and nothing of the client
/// that it was asked about: an outage of a user database is no wrong password.
///
/// I/O errors, time-outs (tower's and Tokio's) and overload are trouble, anywhere among
/// the causes; so is a limit of ours ([`ErrorKind::Limited`]). What a verifier of yours
/// knows to be its back end's trouble, it says with an [`io::Error`]:
/// `io::Error::other(error)` around any error.
///
/// ```
/// use std::io;
/// use socks_tower::{WrongCredentials, session::is_outage};
///
/// assert!(is_outage(&io::Error::other("the directory answers nonsense")));
/// assert!(!is_outage(&WrongCredentials::new()));
/// ```
#[must_use]
pub fn is_outage(error: &(dyn StdError + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| cause_of(*error));
    causes.any(|cause| {
        let ours = cause.downcast_ref::<Error>();
        cause.is::<io::Error>()
            || cause.is::<tower::timeout::error::Elapsed>()
            || cause.is::<tokio::time::error::Elapsed>()
            || cause.is::<tower::load_shed::error::Overloaded>()
            || ours.is_some_and(|error| error.kind() == ErrorKind::Limited)
    })
}

/// An error with all of its causes on one line. Nothing in it can begin
/// another.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl Chain<'_> {
    /// As it is printed, but with nothing escaped: for what escapes by itself.
    pub(crate) fn text(&self) -> String {
        let mut last = self.0.to_string();
        let mut all = last.clone();
        for cause in std::iter::successors(cause_of(self.0), |error| cause_of(*error)) {
            let text = cause.to_string();
            // An `io::Error` prints as the error within it.
            if text != last {
                all.push_str(": ");
                all.push_str(&text);
            }
            last = text;
        }
        all
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().escape_debug().fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.source) {
            (None, Some(source)) => source.fmt(f),
            _ => f.write_str(self.kind().describe()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.get_ref();
        match self.kind {
            // It speaks in the place of its source.
            None => source.and_then(cause_of),
            Some(_) => source,
        }
    }
}

/// The system's word on a dial: the only [`io::Error`] of a connector that a
/// client hears of, by [`Error::reply`].
///
/// Other errors of I/O among the causes are not about the target: a layer
/// around the connector may have asked a database. A connector of your own says
/// which it is:
///
/// ```
/// use socks_tower::{DialError, Host, Request};
/// use tokio::net::TcpStream;
/// use tower::service_fn;
///
/// let connector = service_fn(|request: Request| async move {
///     match request.target.host {
///         Host::Ip(ip) => Ok(TcpStream::connect((ip, request.target.port)).await?),
///         Host::Name(_) => Err(DialError::from(std::io::ErrorKind::Unsupported)),
///     }
/// });
/// # fn check(_: impl socks_tower::Connector<Request>) {}
/// # check(connector);
/// ```
#[derive(Debug, ThisError)]
#[error(transparent)]
pub struct DialError(#[from] io::Error);

impl DialError {
    /// What the system said.
    #[must_use]
    pub fn get_ref(&self) -> &io::Error {
        &self.0
    }

    /// What the system said.
    #[must_use]
    pub fn into_inner(self) -> io::Error {
        self.0
    }
}

impl From<io::ErrorKind> for DialError {
    fn from(kind: io::ErrorKind) -> Self {
        Self(kind.into())
    }
}

/// A work's way to choose the reply: a code, and the reason, which stays with
/// us.
///
/// It is found through any middleware that keeps its `source`, and beats every
/// other rule for the reply. By itself it is an error of kind [`ErrorKind::Denied`],
/// which logs call `denied`; as the source of an [`Error::new`] it is of that kind.
///
/// ```
/// use socks_tower::Refusal;
///
/// fn check(port: u16) -> Result<(), Refusal> {
///     match port {
///         25 => Err(Refusal::not_allowed("no mail from here")),
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

/// [`ReplyCode::SUCCEEDED`] was to be the code of a [`Refusal`].
#[derive(Debug, ThisError)]
#[error("a refusal with the code of success")]
#[non_exhaustive]
pub struct RefusalError;

impl Refusal {
    /// Refuses with `code`, because of `source`.
    ///
    /// # Errors
    ///
    /// If `code` is [`ReplyCode::SUCCEEDED`].
    pub fn new(code: ReplyCode, source: impl Into<BoxError>) -> Result<Self, RefusalError> {
        match code {
            ReplyCode::SUCCEEDED => Err(RefusalError),
            code => Ok(Self::with(code, source)),
        }
    }

    pub(crate) fn with(code: ReplyCode, source: impl Into<BoxError>) -> Self {
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

/// A constructor for each code of RFC 1928 section 6.
macro_rules! refusals {
    ($($name:ident $code:ident $doc:literal,)*) => {
        impl Refusal {
            $(
                #[doc = $doc]
                pub fn $name(source: impl Into<BoxError>) -> Self {
                    Self::with(ReplyCode::$code, source)
                }
            )*
        }
    };
}

refusals! {
    general_failure GENERAL_FAILURE "01, general SOCKS server failure.",
    not_allowed CONNECTION_NOT_ALLOWED "02, connection not allowed by ruleset.",
    network_unreachable NETWORK_UNREACHABLE "03, network unreachable.",
    host_unreachable HOST_UNREACHABLE "04, host unreachable.",
    connection_refused CONNECTION_REFUSED "05, connection refused.",
    ttl_expired TTL_EXPIRED "06, TTL expired.",
    command_not_supported COMMAND_NOT_SUPPORTED "07, command not supported.",
    address_type_not_supported ADDRESS_TYPE_NOT_SUPPORTED "08, address type not supported.",
}
