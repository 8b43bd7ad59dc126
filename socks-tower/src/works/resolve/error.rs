use std::{io, time::Duration};

use socks_core::Host;
use tower::timeout::error::Elapsed;

use crate::session::{DialError, copy_error};

/// A name could not be looked up, or an address.
///
/// What was asked for can be written into a log as it is: a
/// [`DomainName`](socks_core::DomainName) has no control characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The name does not exist, or has no address; or the address has no name.
    ///
    /// The standard library hands on `getaddrinfo`'s words and not its code, so
    /// this is told from [`Failed`](Self::Failed) by the words of glibc, musl,
    /// and the BSDs. In another language, or with another C library, such a
    /// name is `Failed` too.
    #[error("{host} has no {}", missing(.host))]
    #[non_exhaustive]
    NotFound {
        /// What was asked for.
        host: Host,
        /// For how long that holds, if its zone says so (RFC 2308).
        ttl: Option<Duration>,
    },
    /// Nobody could tell: the name servers failed, or gave no answer.
    #[error("look up {host}")]
    #[non_exhaustive]
    Failed {
        /// What was asked for.
        host: Host,
        /// What went wrong.
        source: DialError,
    },
    /// The lookup's own deadline passed.
    #[error("looking up {host} took longer than {timeout:?}")]
    #[non_exhaustive]
    TimedOut {
        /// What was asked for.
        host: Host,
        /// How long it might have taken.
        timeout: Duration,
        /// What stages fail with that took too long.
        source: Elapsed,
    },
    /// As many lookups of this client are running and waiting as may be. This one
    /// was not begun.
    #[error(
        "looking up {host} would be more than this client's part of the {limit} lookups allowed"
    )]
    #[non_exhaustive]
    Overloaded {
        /// What was asked for.
        host: Host,
        /// How many lookups of all clients may run and wait together.
        limit: usize,
        /// Of kind [`ResourceBusy`](io::ErrorKind::ResourceBusy).
        source: io::Error,
    },
    /// The system gives no thread to run the lookup on.
    #[error("start a thread to look up {host}")]
    #[non_exhaustive]
    NoThread {
        /// What was asked for.
        host: Host,
        /// What the system says.
        source: io::Error,
    },
}

impl LookupError {
    pub(super) fn not_found(host: Host) -> Self {
        Self::NotFound { host, ttl: None }
    }

    pub(super) fn from_system(host: Host, source: io::Error) -> Self {
        if says_not_found(&source.to_string()) {
            Self::not_found(host)
        } else {
            let source = source.into();
            Self::Failed { host, source }
        }
    }

    /// With how long it holds, if it does.
    pub(super) fn holding(self, ttl: Duration) -> Self {
        match self {
            Self::NotFound { host, .. } => Self::NotFound {
                host,
                ttl: Some(ttl),
            },
            other => other,
        }
    }

    /// The same, for another who asks.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::NotFound { host, ttl } => Self::NotFound {
                host: host.clone(),
                ttl: *ttl,
            },
            Self::TimedOut { host, timeout, .. } => Self::TimedOut {
                host: host.clone(),
                timeout: *timeout,
                source: Elapsed::new(),
            },
            Self::Failed { host, source } => Self::Failed {
                host: host.clone(),
                source: copy_error(source.get_ref()).into(),
            },
            Self::Overloaded {
                host,
                limit,
                source,
            } => Self::Overloaded {
                host: host.clone(),
                limit: *limit,
                source: copy_error(source),
            },
            Self::NoThread { host, source } => Self::NoThread {
                host: host.clone(),
                source: copy_error(source),
            },
        }
    }
}

/// What `host` would have, if it were found.
fn missing(host: &Host) -> &'static str {
    match host {
        Host::Name(_) => "address",
        Host::Ip(_) => "name",
    }
}

/// `gai_strerror`'s words for `EAI_NONAME` and `EAI_NODATA`.
fn says_not_found(error: &str) -> bool {
    const WORDS: [&str; 6] = [
        // glibc
        "Name or service not known",
        "No address associated with hostname",
        // musl
        "Name does not resolve",
        "Name has no usable address",
        // the BSDs, Apple's and Android's among them
        "nodename nor servname provided, or not known",
        "hostname nor servname provided, or not known",
    ];
    WORDS.iter().any(|words| error.ends_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Host {
        Host::parse(host).unwrap()
    }

    fn classify(words: &str) -> LookupError {
        let words = format!("failed to lookup address information: {words}");
        LookupError::from_system(host("db.example"), io::Error::other(words))
    }

    #[test]
    fn a_name_that_is_not_there_is_told_from_a_resolver_that_is_not() {
        for words in [
            "Name or service not known",
            "No address associated with hostname",
            "Name does not resolve",
        ] {
            let error = classify(words);
            assert!(matches!(error, LookupError::NotFound { .. }), "{words}");
        }
        for words in [
            "Temporary failure in name resolution",
            "Non-recoverable failure in name resolution",
            "Try again",
        ] {
            let error = classify(words);
            assert!(matches!(error, LookupError::Failed { .. }), "{words}");
        }
    }

    #[test]
    fn errors_read_well_in_a_log() {
        let host_asked = host("db.example");
        let timeout = Duration::from_secs(5);
        for (error, text) in [
            (
                classify("Name does not resolve"),
                "db.example has no address",
            ),
            (
                LookupError::NotFound {
                    host: host("192.0.2.1"),
                    ttl: None,
                },
                "192.0.2.1 has no name",
            ),
            (classify("Try again"), "look up db.example"),
            (
                LookupError::TimedOut {
                    host: host_asked.clone(),
                    timeout,
                    source: Elapsed::new(),
                },
                "looking up db.example took longer than 5s",
            ),
            (
                LookupError::Overloaded {
                    host: host_asked,
                    limit: 3,
                    source: io::ErrorKind::ResourceBusy.into(),
                },
                "looking up db.example would be more than this client's part of the 3 lookups allowed",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
