use std::time::Duration;

use crate::session::{Error, ErrorKind};

/// Why a connection was refused: the source of an [`Error`] of kind
/// [`ErrorKind::Limited`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limited {
    /// As many as may be are live.
    #[error("{max} connections are live already")]
    #[non_exhaustive]
    Live {
        /// How many may be.
        max: usize,
    },
    /// There were as many as may be lately.
    #[error("more new connections than {rate}")]
    #[cfg(feature = "rate-limit")]
    #[non_exhaustive]
    Rate {
        /// How many may be.
        rate: super::Rate,
        /// How long until there may be another, if none comes before; none if
        /// there never may.
        retry_after: Option<Duration>,
    },
    /// It waited, and its turn did not come.
    #[error("its turn did not come within {max:?}")]
    #[non_exhaustive]
    Waited {
        /// How long it waited.
        max: Duration,
    },
    /// So many others have connections that this one cannot be counted.
    #[error("{max} others are counted already")]
    #[non_exhaustive]
    Keys {
        /// How many can be.
        max: usize,
    },
    /// Those who count have not answered, and what they cannot be asked is refused.
    #[error("nobody can say how many connections there are")]
    #[cfg(feature = "redis")]
    #[non_exhaustive]
    Unanswered {},
}

impl From<Limited> for Error {
    fn from(limited: Limited) -> Self {
        #[cfg(feature = "rate-limit")]
        let time = match &limited {
            Limited::Rate { retry_after, .. } => *retry_after,
            _ => None,
        };
        #[cfg(not(feature = "rate-limit"))]
        let time: Option<Duration> = None;
        let error = Self::new(ErrorKind::Limited, limited);
        match time {
            Some(time) => error.with_retry_after(time),
            None => error,
        }
    }
}
