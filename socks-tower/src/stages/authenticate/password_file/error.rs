use std::{io, path::PathBuf};

use super::HashError;
use crate::stages::authenticate::{UsersError, WrongCredentials};

/// A file is no list of users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordFileError {
    /// It cannot be read, or is too large.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of its lines is wrong.
    #[error("{}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, and what is wrong with it.
        source: BadLine,
    },
    /// Each time that it was read, it was another: somebody is writing it.
    #[error("{} does not stop changing", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
}

/// A line that lists nobody. What is in it is not shown: it may be a password.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}")]
#[non_exhaustive]
pub struct BadLine {
    /// Which, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub source: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// There is nothing between the name and the hash.
    #[error("not NAME:HASH")]
    NoColon,
    /// No client could send such a name.
    #[error(transparent)]
    Name(#[from] UsersError),
    /// An earlier line lists the same user.
    #[error("the user is listed twice")]
    Twice,
    /// It has no hash that will do.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// A password was not found to be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is wrong, or there is no such user.
    #[error(transparent)]
    Wrong(#[from] WrongCredentials),
    /// The client has its part of the checks that may run and wait: an
    /// [outage](crate::session::is_outage), which locks nobody out.
    #[error("too many passwords wait to be checked: of {limit}, this client has its part")]
    Overloaded {
        /// How many may run and wait.
        limit: usize,
        /// [`ResourceBusy`](io::ErrorKind::ResourceBusy).
        source: io::Error,
    },
    /// The system has no thread or not enough memory for it.
    #[error("a password cannot be checked")]
    Failed {
        /// What it lacks.
        source: io::Error,
    },
}
