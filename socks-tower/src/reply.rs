//! Errors become replies: here, and nowhere else.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use socks_core::{
    Target,
    server::{self, Version},
    v5::ReplyCode,
};

use crate::{Error, ErrorKind, Refusal};

impl Error {
    /// What a client that waits for its reply hears of this.
    ///
    /// In this order: the code of a [`Refusal`] among the causes; what failed;
    /// and for a failed dial its cause, the first time-out or
    /// [`io::Error`] within. The first of our own errors on the way decides,
    /// so that the refused connection of a user database never reads as a
    /// refusing target. SOCKS4 says 91 whatever the code.
    ///
    /// | what failed | reply |
    /// |---|---|
    /// | denied by a rule; EACCES, EPERM of the dial | 02 connection not allowed by ruleset |
    /// | dial: ENETUNREACH, ENETDOWN | 03 network unreachable |
    /// | dial: EHOSTUNREACH; the lookup, whatever its cause | 04 host unreachable |
    /// | dial: ECONNREFUSED | 05 connection refused |
    /// | dial: ETIMEDOUT, tower's or tokio's `Elapsed` | 06 TTL expired |
    /// | command not served | 07 command not supported |
    /// | dial: EAFNOSUPPORT | 08 address type not supported |
    /// | anything else | 01 general failure |
    #[must_use]
    pub fn reply(&self) -> ReplyCode {
        for cause in self.causes() {
            if let Some(refusal) = cause.downcast_ref::<Refusal>() {
                return refusal.code();
            }
            if let Some(error) = cause.downcast_ref::<Self>() {
                return error.reply();
            }
        }
        match self.kind() {
            ErrorKind::Denied => ReplyCode::CONNECTION_NOT_ALLOWED,
            ErrorKind::Resolve => ReplyCode::HOST_UNREACHABLE,
            ErrorKind::Command => ReplyCode::COMMAND_NOT_SUPPORTED,
            ErrorKind::Connect => self
                .causes()
                .find_map(dial_reply)
                .unwrap_or(ReplyCode::GENERAL_FAILURE),
            ErrorKind::Protocol
            | ErrorKind::Deadline
            | ErrorKind::Authentication
            | ErrorKind::Authorize
            | ErrorKind::Relay
            | ErrorKind::ClientGone
            | ErrorKind::Other => ReplyCode::GENERAL_FAILURE,
        }
    }
}

/// What a cause says of a dial; none if it says nothing.
fn dial_reply(cause: &(dyn StdError + 'static)) -> Option<ReplyCode> {
    if cause.is::<tower::timeout::error::Elapsed>() || cause.is::<tokio::time::error::Elapsed>() {
        return Some(ReplyCode::TTL_EXPIRED);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if error.raw_os_error() == Some(EAFNOSUPPORT) {
        return Some(ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED);
    }
    // An `io::Error` that only carries another error has nothing to say itself.
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => ReplyCode::CONNECTION_NOT_ALLOWED,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            ReplyCode::NETWORK_UNREACHABLE
        }
        io::ErrorKind::HostUnreachable => ReplyCode::HOST_UNREACHABLE,
        io::ErrorKind::ConnectionRefused => ReplyCode::CONNECTION_REFUSED,
        io::ErrorKind::TimedOut => ReplyCode::TTL_EXPIRED,
        io::ErrorKind::Other if error.get_ref().is_some() => return None,
        _ => ReplyCode::GENERAL_FAILURE,
    };
    Some(code)
}

/// std has no `ErrorKind` for it.
const EAFNOSUPPORT: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    97
} else if cfg!(windows) {
    10047
} else {
    47
};

/// How to say yes and no to the client of a session, whatever protocol it
/// speaks. Set by the first stage; the later ones know no other.
pub trait Dialect: Send + Sync + 'static {
    /// Appends the reply: granted, with BND.ADDR, or refused.
    fn encode(&self, outcome: Result<&Target, ReplyCode>, out: &mut Vec<u8>);
}

/// SOCKS's own words, by version.
impl Dialect for Version {
    fn encode(&self, outcome: Result<&Target, ReplyCode>, out: &mut Vec<u8>) {
        server::reply(*self, outcome, out);
    }
}

/// A user's last word on replies: none leaves it at [`Error::reply`].
#[derive(Clone)]
pub(crate) struct ReplyHook(Arc<dyn Fn(&Error) -> Option<ReplyCode> + Send + Sync>);

impl ReplyHook {
    pub(crate) fn new(hook: impl Fn(&Error) -> Option<ReplyCode> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// The reply to `error`, by the hook if there is one.
    pub(crate) fn reply(hook: Option<&Self>, error: &Error) -> ReplyCode {
        match hook.and_then(|hook| hook.0(error)) {
            Some(ReplyCode::SUCCEEDED) | None => error.reply(),
            Some(code) => code,
        }
    }
}

impl fmt::Debug for ReplyHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyHook(..)")
    }
}
