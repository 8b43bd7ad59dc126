use std::time::Duration;

use redis::{ErrorKind, RedisError};

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Redis is known to be gone: it was not asked.
    #[error("Redis is gone")]
    Gone,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It could not be reached, or what it said was no answer.
    #[error("{0}")]
    Lost(String),
    /// It answers, but does no work.
    #[error("it refuses: {0}")]
    Refused(String),
    /// It does not do what was asked for; it may well do other things.
    #[error("it does not do this: {0}")]
    Wrong(String),
}

impl Unanswered {
    /// Whether others would get no answer either.
    pub(super) fn is_of_all(&self) -> bool {
        !matches!(self, Self::Gone | Self::Wrong(_))
    }
}

impl From<RedisError> for Unanswered {
    fn from(error: RedisError) -> Self {
        /// A server says these that does no work for anybody, for now or at all.
        const OF_ALL: [&str; 10] = [
            "BUSY",
            "CLUSTERDOWN",
            "LOADING",
            "MASTERDOWN",
            "MISCONF",
            "NOAUTH",
            "NOREPLICAS",
            "OOM",
            "READONLY",
            "TRYAGAIN",
        ];
        let text = error.to_string();
        match (error.kind(), error.code()) {
            (_, Some(code)) if OF_ALL.contains(&code) => Self::Refused(text),
            (ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported, _) => {
                Self::Refused(text)
            }
            (ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client, _) => Self::Lost(text),
            _ => Self::Wrong(text),
        }
    }
}
