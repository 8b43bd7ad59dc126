//! A session's policy, as its tunnel carries it out.

use std::time::Duration;

use tokio::time::Instant;

use crate::session::{
    End,
    policy::{Direction, Grant, Look, Policy, Taps},
};

/// How soon to ask a throttle again that names no instant to come.
const MOMENT: Duration = Duration::from_millis(1);

/// What a tunnel with a policy keeps of it, in a box of its own: most have none.
#[derive(Debug)]
pub(super) struct Lanes {
    policy: Policy,
    /// Until when a direction is held back: up, down.
    until: [Option<Instant>; 2],
    /// Bytes that the client sent early and no throttle has been asked for.
    early: usize,
    holds_early: bool,
    taps: Taps,
    /// Somebody ends the session.
    end: Option<End>,
}

impl Lanes {
    /// None if there is nothing to carry out.
    pub(super) fn new(policy: Policy, early: &[u8]) -> Option<Box<Self>> {
        if policy.is_empty() {
            return None;
        }
        let mut lanes = Self {
            taps: policy.take_taps(),
            policy,
            until: [None; 2],
            early: early.len(),
            holds_early: false,
            end: None,
        };
        lanes.holds_early = lanes.fate_of(Direction::Up, early) == Fate::Holds;
        Some(Box::new(lanes))
    }

    /// Somebody holds back what the client sent early.
    pub(super) fn holds_early(&self) -> bool {
        self.holds_early
    }

    /// There is nothing left to carry out.
    pub(super) fn is_done(&self) -> bool {
        self.taps.is_empty() && self.end.is_none() && !self.policy.counts()
    }

    /// Until when the direction is held back.
    pub(super) fn until(&self, direction: Direction) -> Option<Instant> {
        self.until.get(index(direction)).copied().flatten()
    }

    /// How the session ends, if nothing more is granted, ever, or a tap says so.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Shows what has been read to whom wants to see it.
    fn fate_of(&mut self, direction: Direction, bytes: &[u8]) -> Fate {
        let look = match self.taps.is_empty() {
            true => Look::Enough,
            false => self.taps.show(direction, bytes),
        };
        if look == Look::End {
            self.end = Some(End::EndedByTap);
        }
        match look {
            _ if self.end.is_some() => Fate::Stops,
            Look::Hold => Fate::Holds,
            Look::More => Fate::Watched,
            Look::Enough | Look::End => Fate::Passes,
        }
    }

    pub(super) fn record(&self, direction: Direction, bytes: u64) {
        self.policy.record(direction, bytes);
    }

    /// Asks for what the client sent early. True once that may be written.
    pub(super) fn admit_early(&mut self) -> bool {
        while self.early > 0 {
            let Some(granted) = self.take(Direction::Up, self.early) else {
                return false;
            };
            self.early = self.early.saturating_sub(granted);
        }
        true
    }

    fn take(&mut self, direction: Direction, want: usize) -> Option<usize> {
        let until = self.until(direction);
        if self.end.is_some() || until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let until = match self.policy.take(direction, want as u64) {
            Grant::Bytes(granted) if granted > 0 => {
                self.hold(direction, None);
                // Never more than was wanted, which is a usize.
                return Some(usize::try_from(granted).map_or(want, |granted| granted.min(want)));
            }
            Grant::Bytes(_) => Instant::now() + MOMENT,
            // Past instants would have the timer fire for ever.
            Grant::Wait(until) => until.max(Instant::now() + MOMENT),
            Grant::Exhausted => {
                self.end = Some(End::QuotaExceeded);
                return None;
            }
        };
        self.hold(direction, Some(until));
        None
    }

    fn hold(&mut self, direction: Direction, until: Option<Instant>) {
        if let Some(place) = self.until.get_mut(index(direction)) {
            *place = until;
        }
    }
}

const fn index(direction: Direction) -> usize {
    match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    }
}

/// One direction of a tunnel, with the policy that is to be asked, if any.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    lanes: Option<&'a mut Lanes>,
    direction: Direction,
}

impl<'a> Lane<'a> {
    pub(super) fn new(lanes: Option<&'a mut Lanes>, direction: Direction) -> Self {
        Self { lanes, direction }
    }

    /// Whether somebody is asked what may be read.
    pub(super) fn is_throttled(&self) -> bool {
        self.lanes.is_some()
    }

    /// What may be read now, `want` bytes at most; none if the flow is held back.
    pub(super) fn take(&mut self, want: usize) -> Option<Allowance<'_>> {
        let Some(lanes) = self.lanes.as_deref_mut() else {
            return Some(Allowance {
                bytes: want,
                lanes: None,
            });
        };
        let bytes = lanes.take(self.direction, want)?;
        Some(Allowance {
            bytes,
            lanes: Some((lanes, self.direction)),
        })
    }
}

/// Bytes that may be read. Those that are not go back when it is dropped.
#[derive(Debug)]
pub(super) struct Allowance<'a> {
    bytes: usize,
    lanes: Option<(&'a mut Lanes, Direction)>,
}

/// What becomes of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Passes,
    /// It does, and somebody wants to see what follows.
    Watched,
    /// It waits until somebody has seen what follows.
    Holds,
    /// It goes nowhere.
    Stops,
}

impl Allowance<'_> {
    /// How many may be read; at least 1.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many have been, unseen.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// These have been: shows them to whom wants to see them.
    #[inline]
    pub(super) fn show(&mut self, read: &[u8]) -> Fate {
        self.spend(read.len());
        match &mut self.lanes {
            None => Fate::Passes,
            Some((lanes, direction)) => lanes.fate_of(*direction, read),
        }
    }
}

impl Drop for Allowance<'_> {
    fn drop(&mut self) {
        if let Some((lanes, direction)) = &self.lanes {
            lanes.policy.give_back(*direction, self.bytes as u64);
        }
    }
}
