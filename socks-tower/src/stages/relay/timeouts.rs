//! How long a tunnel may stand, and in silence.

use std::time::Duration;

use tokio::time::Instant;

use crate::session::End;

/// How long what was read before a reset may take to reach the other side.
const LINGER: Duration = Duration::from_secs(1);

/// `None` is for ever.
#[derive(Clone, Debug)]
pub(super) struct Timeouts {
    pub(super) idle: Option<Duration>,
    pub(super) half_closed: Option<Duration>,
    pub(super) lifetime: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // RFC 5382, section 5, for a connection in the established state.
            idle: Some(Duration::from_secs(2 * 60 * 60 + 4 * 60)),
            half_closed: Some(Duration::from_secs(5 * 60)),
            lifetime: None,
        }
    }
}

/// What the clock needs to know about a tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Open,
    HalfClosed,
    /// A side is reset; the rest is on its way to the other.
    Broken(End),
}

impl Timeouts {
    /// When a tunnel that began at `started` and last moved at `active` is to
    /// end, and why. It is not silent before `held`, for it may not speak.
    pub(super) fn deadline(
        &self,
        phase: Phase,
        started: Instant,
        active: Instant,
        held: Option<Instant>,
    ) -> Option<(Instant, End)> {
        let (silence, end) = match phase {
            Phase::Open => (self.idle, End::IdleTimeout),
            Phase::HalfClosed => match (self.half_closed, self.idle) {
                (Some(half_closed), Some(idle)) if idle < half_closed => {
                    (Some(idle), End::IdleTimeout)
                }
                (None, idle) => (idle, End::IdleTimeout),
                (half_closed, _) => (half_closed, End::HalfClosedTimeout),
            },
            Phase::Broken(end) => (Some(LINGER), end),
        };
        // What lies past the end of time never comes.
        let at = |from: Instant, span: Option<Duration>| from.checked_add(span?);
        let silence = at(active, silence).map(|at| (held.map_or(at, |held| held.max(at)), end));
        let lifetime = at(started, self.lifetime).map(|at| (at, End::LifetimeExceeded));
        [silence, lifetime]
            .into_iter()
            .flatten()
            .min_by_key(|&(at, _)| at)
    }

    /// When to look at a tunnel for which nothing is due before `next`.
    ///
    /// Never later than a half-closed tunnel would have to be looked at, so that
    /// a FIN need not set the timer back. Setting it back wakes the driver, a
    /// system call for every connection.
    pub(super) fn no_later(&self, next: Instant, now: Instant) -> Instant {
        let half_closed = self.half_closed.and_then(|span| now.checked_add(span));
        half_closed.map_or(next, |at| next.min(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn deadline(timeouts: &Timeouts, phase: Phase) -> Option<(Duration, End)> {
        let started = Instant::now();
        let active = started + 10 * SECOND;
        let deadline = timeouts.deadline(phase, started, active, None);
        deadline.map(|(at, end)| (at - started, end))
    }

    #[test]
    fn silence_counts_from_the_last_byte_and_lifetime_from_the_start() {
        let timeouts = Timeouts {
            idle: Some(30 * SECOND),
            half_closed: Some(20 * SECOND),
            lifetime: Some(35 * SECOND),
        };
        let open = deadline(&timeouts, Phase::Open);
        assert_eq!(open, Some((35 * SECOND, End::LifetimeExceeded)));
        let half = deadline(&timeouts, Phase::HalfClosed);
        assert_eq!(half, Some((30 * SECOND, End::HalfClosedTimeout)));
        let broken = deadline(&timeouts, Phase::Broken(End::ClientReset));
        assert_eq!(broken, Some((11 * SECOND, End::ClientReset)));
    }

    #[test]
    fn the_idle_timeout_holds_in_a_half_closed_tunnel_too() {
        let mut timeouts = Timeouts {
            idle: Some(5 * SECOND),
            ..Timeouts::default()
        };
        let idle = Some((15 * SECOND, End::IdleTimeout));
        assert_eq!(deadline(&timeouts, Phase::HalfClosed), idle);
        timeouts.half_closed = None;
        assert_eq!(deadline(&timeouts, Phase::HalfClosed), idle);
    }

    #[test]
    fn without_limits_there_is_no_deadline() {
        let mut timeouts = Timeouts {
            idle: None,
            half_closed: None,
            lifetime: None,
        };
        assert_eq!(deadline(&timeouts, Phase::Open), None);
        assert_eq!(deadline(&timeouts, Phase::HalfClosed), None);
        timeouts.idle = Some(Duration::MAX);
        assert_eq!(deadline(&timeouts, Phase::Open), None);
    }
}
