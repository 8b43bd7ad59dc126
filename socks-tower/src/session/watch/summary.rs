use std::{error::Error as StdError, fmt, time::Duration};

use super::Record;
use crate::session::{Chain, Datagrams, End, Error, ErrorKind, policy::Direction};

/// A session that is over: what was known of it, what it carried and how it
/// ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary<'a> {
    /// What was known of it.
    pub record: &'a Record,
    /// Bytes from the client to the target.
    pub up: u64,
    /// Bytes from the target to the client.
    pub down: u64,
    /// The datagrams of a UDP association; none for anything else.
    pub datagrams: Option<Datagrams>,
    /// The time from accept to the end.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome<'a>,
}

impl<'a> Summary<'a> {
    /// A session that carried nothing and ended so.
    #[must_use]
    pub fn new(record: &'a Record, outcome: Outcome<'a>) -> Self {
        Self {
            record,
            up: 0,
            down: 0,
            datagrams: None,
            duration: Duration::ZERO,
            outcome,
        }
    }

    /// The bytes that went this way; none if the session did not come to carry
    /// any.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> Option<u64> {
        let carries = self.record.established || matches!(self.outcome, Outcome::Done(_));
        carries.then_some(match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        })
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It was served to its end.
    Done(End),
    /// A stage, or a layer between the stages, failed.
    Failed(Failure<'a>),
    /// Its future was dropped before it was done: by the server's shutdown, or
    /// by a layer further out.
    Cut,
    /// It panicked.
    Panicked,
}

impl<'a> Outcome<'a> {
    /// A word for it, as logs and metrics want it: [`End::as_str`],
    /// [`ErrorKind::as_str`], `cut` or `panicked`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done(end) => end.as_str(),
            Self::Failed(failure) => failure.kind().as_str(),
            Self::Cut => "cut",
            Self::Panicked => "panicked",
        }
    }

    /// What failed, if something did.
    #[must_use]
    pub fn failure(&self) -> Option<Failure<'a>> {
        match self {
            Self::Failed(failure) => Some(*failure),
            Self::Done(_) | Self::Cut | Self::Panicked => None,
        }
    }
}

/// Why a session failed. It prints as the error and all of its causes on one
/// line, control characters escaped.
#[derive(Clone, Copy)]
pub struct Failure<'a>(&'a (dyn StdError + 'static));

impl<'a> Failure<'a> {
    /// A session failed by `error`.
    #[must_use]
    pub fn new(error: &'a (dyn StdError + 'static)) -> Self {
        Self(error)
    }

    /// What failed: [`ErrorKind::Other`] if the error is none of ours.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.downcast_ref().map_or(ErrorKind::Other, Error::kind)
    }

    /// As it is printed, with nothing escaped.
    pub(crate) fn text(&self) -> String {
        Chain(self.0).text()
    }

    /// The error itself.
    #[must_use]
    pub fn error(&self) -> &'a (dyn StdError + 'static) {
        self.0
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self.0).fmt(f)
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}
