use std::{io, time::Duration};

use socks_core::DomainName;

/// A name could not be looked up.
///
/// The names can be written into a log as they are: a [`DomainName`] has no
/// control characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The name does not exist, or has no address.
    ///
    /// The standard library hands on `getaddrinfo`'s words and not its code, so
    /// this is told from [`Failed`](Self::Failed) by the words of glibc, musl,
    /// and the BSDs. In another language, or with another C library, such a
    /// name is `Failed` too.
    #[error("{name} has no address")]
    NotFound {
        /// The name that was asked for.
        name: DomainName,
    },
    /// The system could not tell: no name server answered, or it was refused.
    #[error("look up {name}")]
    Failed {
        /// The name that was asked for.
        name: DomainName,
        /// What the system says.
        source: io::Error,
    },
    /// The lookup's own deadline passed.
    #[error("looking up {name} took longer than {timeout:?}")]
    TimedOut {
        /// The name that was asked for.
        name: DomainName,
        /// How long it might have taken.
        timeout: Duration,
    },
    /// As many lookups are running and waiting as may be. This one was not
    /// begun.
    #[error("looking up {name} would be one lookup more than the {limit} allowed")]
    Overloaded {
        /// The name that was asked for.
        name: DomainName,
        /// How many lookups may run and wait together.
        limit: usize,
    },
    /// The system gives no thread to run the lookup on.
    #[error("start a thread to look up {name}")]
    NoThread {
        /// The name that was asked for.
        name: DomainName,
        /// What the system says.
        source: io::Error,
    },
}

impl LookupError {
    pub(super) fn from_system(name: DomainName, source: io::Error) -> Self {
        if says_not_found(&source.to_string()) {
            Self::NotFound { name }
        } else {
            Self::Failed { name, source }
        }
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

    fn classify(words: &str) -> LookupError {
        let name = DomainName::new("db.example").unwrap();
        let words = format!("failed to lookup address information: {words}");
        LookupError::from_system(name, io::Error::other(words))
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
        let name = DomainName::new("db.example").unwrap();
        let timeout = Duration::from_secs(5);
        for (error, text) in [
            (
                classify("Name does not resolve"),
                "db.example has no address",
            ),
            (classify("Try again"), "look up db.example"),
            (
                LookupError::TimedOut {
                    name: name.clone(),
                    timeout,
                },
                "looking up db.example took longer than 5s",
            ),
            (
                LookupError::Overloaded { name, limit: 3 },
                "looking up db.example would be one lookup more than the 3 allowed",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
