use std::{fmt, sync::Arc};

use crate::session::{ClientKey, Identity, Session};

/// Whose bytes are counted.
///
/// It prints as a short text that no other key has: `overall`,
/// `client:192.0.2.1`, `identity:joe`, `by:gold`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuotaKey {
    /// Everybody's.
    Overall,
    /// A client's: an IPv4 address, or an IPv6 network of 64 bits. Clients of
    /// whom nobody knows the address count as one, `client`.
    Client(Option<ClientKey>),
    /// A user's. Those who need not say who they are count as one, `identity`.
    Identity(Option<Identity>),
    /// What [`QuotaLayer::by`](super::QuotaLayer::by) says.
    By(Arc<str>),
}

impl QuotaKey {
    /// As it is printed, with nothing escaped: for a log, which does so itself.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Identity(Some(identity)) => format!("identity:{}", identity.as_str()),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for QuotaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overall => f.write_str("overall"),
            Self::Client(None) => f.write_str("client"),
            Self::Client(Some(network)) => write!(f, "client:{network}"),
            Self::Identity(None) => f.write_str("identity"),
            Self::Identity(Some(identity)) => write!(f, "identity:{identity}"),
            Self::By(key) => write!(f, "by:{}", key.escape_debug()),
        }
    }
}

/// What tells one account from another; none for a session without a quota.
pub(super) type KeyOf = Arc<dyn Fn(&Session) -> Option<QuotaKey> + Send + Sync>;
