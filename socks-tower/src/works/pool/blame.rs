//! Who is to blame for a request that came to nothing.

use std::error::Error as StdError;

use socks_core::v5::ReplyCode;

use crate::{
    session::{BoxError, DialError, Error, ErrorKind, Refusal, cause_of},
    works::upstream::{UpstreamError, UpstreamFailure},
};

/// What an error of an upstream's says of it. The later ones say more of the target,
/// and so more to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blame {
    /// The upstream cannot do this at all: another may.
    Unable,
    /// The upstream's fault.
    Upstream,
    /// The upstream's fault, if another reaches the target: it gave no answer.
    Suspect,
    /// Perhaps another reaches the target; the upstream said that it does not.
    Perhaps,
    /// The upstream has answered, and another would answer no better.
    Target,
}

impl Blame {
    pub(super) fn of(error: &BoxError) -> Self {
        let error: &(dyn StdError + 'static) = &**error;
        std::iter::successors(Some(error), |error| cause_of(*error))
            .find_map(Self::of_cause)
            .unwrap_or(Self::Upstream)
    }

    fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return Self::of_kind(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<UpstreamError>() {
            return Self::of_failure(error);
        }
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(Self::of_code(refusal.code()));
        }
        if cause.is::<DialError>() {
            return Some(Self::Perhaps);
        }
        let is_elapsed = cause.is::<tower::timeout::error::Elapsed>()
            || cause.is::<tokio::time::error::Elapsed>();
        is_elapsed.then_some(Self::Suspect)
    }

    /// What the layers of an upstream's own stack say.
    fn of_kind(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::Connect | ErrorKind::Upstream | ErrorKind::Other => None,
            _ => Some(Self::Target),
        }
    }

    fn of_failure(error: &UpstreamError) -> Option<Self> {
        match error.failure() {
            UpstreamFailure::Unreachable | UpstreamFailure::RefusedUs => Some(Self::Upstream),
            // Some hang up instead of saying that they do not reach the target.
            UpstreamFailure::NoAnswer | UpstreamFailure::Protocol => Some(Self::Suspect),
            UpstreamFailure::RefusedTarget | UpstreamFailure::Unsupported => {
                error.code().map(Self::of_code)
            }
        }
    }

    fn of_code(code: ReplyCode) -> Self {
        match code {
            ReplyCode::COMMAND_NOT_SUPPORTED | ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED => {
                Self::Unable
            }
            ReplyCode::GENERAL_FAILURE
            | ReplyCode::NETWORK_UNREACHABLE
            | ReplyCode::HOST_UNREACHABLE
            | ReplyCode::TTL_EXPIRED => Self::Perhaps,
            _ => Self::Target,
        }
    }
}
