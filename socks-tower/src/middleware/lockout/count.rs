use std::hash::Hash;

use super::record::{Records, Terms};
use crate::session::Error;

/// Who counts the failures.
pub(super) enum Count<K> {
    /// This process.
    Alone(Records<K>),
    /// All nodes together.
    #[cfg(feature = "redis")]
    Fleet(super::fleet::Fleet<K>),
}

impl<K: Clone + Eq + Hash> Count<K> {
    /// # Errors
    ///
    /// If `key` is locked out, or that cannot be told.
    pub(super) fn check(&self, key: &K) -> Result<(), Error> {
        match self {
            Self::Alone(records) => Ok(records.check(key)?),
            #[cfg(feature = "redis")]
            Self::Fleet(fleet) => fleet.check(key),
        }
    }

    pub(super) fn failed(&self, key: &K, terms: &Terms) {
        match self {
            Self::Alone(records) => records.failed(key, terms),
            #[cfg(feature = "redis")]
            Self::Fleet(fleet) => fleet.failed(key, terms),
        }
    }

    pub(super) fn succeeded(&self, key: &K) {
        match self {
            Self::Alone(records) => {
                records.succeeded(key);
            }
            #[cfg(feature = "redis")]
            Self::Fleet(fleet) => fleet.succeeded(key),
        }
    }

    /// One that counts anew, with another bound.
    pub(super) fn with_max_keys(&self, max: usize) -> Self {
        match self {
            Self::Alone(_) => Self::Alone(Records::new(max)),
            #[cfg(feature = "redis")]
            Self::Fleet(fleet) => Self::Fleet(fleet.with_max_keys(max)),
        }
    }
}
