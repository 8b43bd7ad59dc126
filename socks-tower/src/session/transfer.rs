//! What a tunnel has done by the time it ends.

use std::{fmt, time::Duration};

use crate::session::Datagrams;

/// What a tunnel carried, and why it ended.
///
/// A peer's reset or a timeout is a normal end, not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// Bytes from the client that the upstream's socket took, early ones included.
    pub up: u64,
    /// Bytes from the upstream that the client's socket took.
    pub down: u64,
    /// How long the tunnel stood.
    pub duration: Duration,
    /// Why it ended.
    pub end: End,
    /// The datagrams of a UDP association, whose data `up` and `down` count;
    /// none for a TCP tunnel.
    pub datagrams: Option<Datagrams>,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// Both sides said that they were done; of a UDP association, the client.
    #[default]
    Closed,
    /// The client's connection broke; the upstream's was reset.
    ClientReset,
    /// The upstream's connection broke; the client's was reset. Of a UDP association
    /// through another proxy: that one ended it.
    UpstreamReset,
    /// Nothing moved for the idle timeout.
    IdleTimeout,
    /// One side was done, and nothing moved the other way for the half-closed timeout.
    HalfClosedTimeout,
    /// The tunnel stood for as long as it may.
    LifetimeExceeded,
    /// A throttle of the session's [`Policy`](crate::Policy) grants no more.
    QuotaExceeded,
    /// A [`Tap`](crate::Tap) saw what must not pass.
    EndedByTap,
}

impl End {
    /// A short name for logs and metrics, such as `client_reset`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfClosedTimeout => "half_closed_timeout",
            Self::LifetimeExceeded => "lifetime_exceeded",
            Self::QuotaExceeded => "quota_exceeded",
            Self::EndedByTap => "ended_by_tap",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "both sides closed",
            Self::ClientReset => "the client's connection broke",
            Self::UpstreamReset => "the upstream's connection broke",
            Self::IdleTimeout => "idle for too long",
            Self::HalfClosedTimeout => "half-closed and idle for too long",
            Self::LifetimeExceeded => "open for too long",
            Self::QuotaExceeded => "its quota is used up",
            Self::EndedByTap => "ended for what was seen in it",
        })
    }
}
