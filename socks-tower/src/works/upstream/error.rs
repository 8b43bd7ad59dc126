use std::{error::Error as StdError, fmt};

use socks_core::{Target, client, client::FailureCode, v4, v5::ReplyCode};

use crate::session::{BoxError, Error, ErrorKind, Refusal};

/// An upstream proxy did not lead to the target.
///
/// In a stack it is the source of an [`Error`], of kind [`ErrorKind::Upstream`] if
/// the proxy is to blame, else [`ErrorKind::Connect`].
#[derive(Debug)]
pub struct UpstreamError {
    proxy: Option<Target>,
    failure: UpstreamFailure,
    source: BoxError,
}

/// What failed about an upstream proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamFailure {
    /// The proxy could not be reached, or did not let us ask before the deadline.
    Unreachable,
    /// The proxy did not let us in.
    RefusedUs,
    /// The proxy refused the target, or could not reach it:
    /// [`UpstreamError::code`] says which.
    RefusedTarget,
    /// The proxy took the request and did not answer by the deadline.
    NoAnswer,
    /// The proxy broke the protocol, or hung up within it.
    Protocol,
    /// The proxy's protocol has no words for the target, or for the command. The
    /// proxy was not asked.
    Unsupported,
}

impl UpstreamFailure {
    const fn describe(self) -> &'static str {
        match self {
            Self::Unreachable => "could not be reached",
            Self::RefusedUs => "refused us",
            Self::RefusedTarget => "refused the target",
            Self::NoAnswer => "did not answer in time",
            Self::Protocol => "broke the protocol",
            Self::Unsupported => "cannot be asked",
        }
    }
}

impl UpstreamError {
    pub(super) fn new(failure: UpstreamFailure, source: impl Into<BoxError>) -> Self {
        Self {
            proxy: None,
            failure,
            source: source.into(),
        }
    }

    /// The target, or what is wanted of it, is refused with `code`.
    pub(super) fn refusal(
        failure: UpstreamFailure,
        code: ReplyCode,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::new(failure, Refusal::with(code, source))
    }

    pub(super) fn of(mut self, proxy: Target) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Whether the proxy would have connected, if the target had let it.
    pub(super) fn is_unreached(&self) -> bool {
        self.failure == UpstreamFailure::RefusedTarget
            && self.code() != Some(ReplyCode::CONNECTION_NOT_ALLOWED)
    }

    /// What failed.
    #[must_use]
    pub fn failure(&self) -> UpstreamFailure {
        self.failure
    }

    /// The proxy, if it was not reached by the caller.
    #[must_use]
    pub fn proxy(&self) -> Option<&Target> {
        self.proxy.as_ref()
    }

    /// Why the target was refused, in SOCKS5's words. What the proxy itself said
    /// is among the causes.
    #[must_use]
    pub fn code(&self) -> Option<ReplyCode> {
        self.source.downcast_ref().map(Refusal::code)
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => write!(f, "the proxy {proxy} {}", self.failure.describe()),
            None => write!(f, "the proxy {}", self.failure.describe()),
        }
    }
}

impl StdError for UpstreamError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl From<UpstreamError> for Error {
    fn from(error: UpstreamError) -> Self {
        let kind = match error.failure {
            UpstreamFailure::RefusedTarget
            | UpstreamFailure::NoAnswer
            | UpstreamFailure::Unsupported => ErrorKind::Connect,
            UpstreamFailure::Unreachable
            | UpstreamFailure::RefusedUs
            | UpstreamFailure::Protocol => ErrorKind::Upstream,
        };
        Self::new(kind, error)
    }
}

impl From<client::Error> for UpstreamError {
    fn from(error: client::Error) -> Self {
        let failure = match &error {
            client::Error::NoAcceptableMethod | client::Error::CredentialsRejected { .. } => {
                UpstreamFailure::RefusedUs
            }
            client::Error::Refused(FailureCode::V4(
                v4::ReplyCode::IDENTD_UNREACHABLE | v4::ReplyCode::USER_ID_MISMATCH,
            )) => UpstreamFailure::RefusedUs,
            client::Error::Refused(code) => {
                let code = passed_on(code.reply_code());
                return Self::refusal(UpstreamFailure::RefusedTarget, code, error);
            }
            _ => UpstreamFailure::Protocol,
        };
        Self::new(failure, error)
    }
}

/// A proxy's code as it is passed on: one that nobody knows says nothing.
fn passed_on(code: ReplyCode) -> ReplyCode {
    match code {
        ReplyCode(1..=8 | 0xf0..=0xf7) => code,
        _ => ReplyCode::GENERAL_FAILURE,
    }
}
