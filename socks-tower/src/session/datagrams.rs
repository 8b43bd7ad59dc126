//! What an association has carried, and what it has dropped and why.

use std::fmt;

/// Datagrams of an association, in a [`Transfer`](crate::Transfer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagrams {
    /// Sent to destinations. What was reassembled counts as one.
    pub up: u64,
    /// Sent to the client.
    pub down: u64,
    /// Not sent on.
    pub dropped: Dropped,
}

impl Datagrams {
    /// What has come since it was `earlier`.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        self.up = self.up.saturating_sub(earlier.up);
        self.down = self.down.saturating_sub(earlier.down);
        let counts = self.dropped.counts.iter_mut();
        for (count, earlier) in counts.zip(earlier.dropped.counts) {
            *count = count.saturating_sub(earlier);
        }
        self
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.up += more.up;
        self.down += more.down;
        for (count, more) in self.dropped.counts.iter_mut().zip(more.dropped.counts) {
            *count += more;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Datagrams that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    counts: [u64; DropReason::COUNT],
}

impl Dropped {
    /// How many were dropped for `reason`.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        let count = self.counts.get(reason as usize);
        count.copied().unwrap_or_default()
    }

    /// Each reason, and how many were dropped for it, 0 included.
    ///
    /// ```
    /// # let datagrams = socks_tower::session::Datagrams::default();
    /// for (reason, count) in datagrams.dropped.iter().filter(|(_, count)| *count > 0) {
    ///     println!("{reason}: {count}");
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + use<> {
        DropReason::ALL.iter().copied().zip(self.counts)
    }

    /// How many were dropped in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: DropReason, datagrams: u64) {
        if let Some(count) = self.counts.get_mut(reason as usize) {
            *count += datagrams;
        }
    }
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It came to the client's socket, but not from the client.
    NotTheClient,
    /// It has no header that can be read.
    Malformed,
    /// It is a fragment: reassembly is off, or its datagram was given up.
    Fragment,
    /// A rule denies its destination.
    Denied,
    /// Its destination could not be looked up, or the policy failed.
    Unresolved,
    /// There were too many look-ups at once, or too many datagrams that waited
    /// for one.
    Overload,
    /// Its destination is one of our own sockets.
    Loop,
    /// It came from where nothing was sent to.
    Unsolicited,
    /// It does not fit into a datagram on its way on.
    TooLong,
    /// The system would not send it: there is no route, no room, or port 0.
    Unsendable,
    /// A throttle of the session's [`Policy`](crate::Policy) did not grant it.
    Throttled,
    /// It is not wrapped as the client's authentication method agreed on, has come
    /// before, or cannot be wrapped.
    Unprotected,
}

impl DropReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: &'static [Self] = &[
        Self::NotTheClient,
        Self::Malformed,
        Self::Fragment,
        Self::Denied,
        Self::Unresolved,
        Self::Overload,
        Self::Loop,
        Self::Unsolicited,
        Self::TooLong,
        Self::Unsendable,
        Self::Throttled,
        Self::Unprotected,
    ];

    const COUNT: usize = Self::ALL.len();

    /// A short name for logs and metrics, such as `not_the_client`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotTheClient => "not_the_client",
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::Denied => "denied",
            Self::Unresolved => "unresolved",
            Self::Overload => "overload",
            Self::Loop => "loop",
            Self::Unsolicited => "unsolicited",
            Self::TooLong => "too_long",
            Self::Unsendable => "unsendable",
            Self::Throttled => "throttled",
            Self::Unprotected => "unprotected",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let mut dropped = Dropped::default();
        for (datagrams, &reason) in (1..).zip(DropReason::ALL) {
            dropped.add(reason, datagrams);
        }
        for (datagrams, &reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(dropped.of(reason), datagrams, "{reason}");
        }
        assert_eq!(dropped.total(), 78);
        let listed = dropped.iter().map(|(reason, count)| (count, reason));
        assert!(listed.eq((1..).zip(DropReason::ALL.iter().copied())));
    }
}
