use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use socks_core::{DomainName, Target};

use super::special::SpecialPurpose;
use crate::session::{Error, ErrorKind};

/// Why one of this crate's authorizers denied a request: the source of an
/// [`Error`] of kind [`ErrorKind::Denied`].
///
/// Of a name whose addresses are all denied, it speaks of the first.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// The address is not one of a host on the Internet.
    #[error("{ip} is special-purpose: {purpose}")]
    #[non_exhaustive]
    SpecialPurpose {
        /// The address.
        ip: IpAddr,
        /// What it is for.
        purpose: SpecialPurpose,
    },
    /// The name means this host or its own network.
    #[error("{0} is a local name")]
    LocalName(DomainName),
    /// The name holds more than letters, digits, hyphens, underscores and
    /// dots: what another proxy makes of it is not known.
    #[error("{0} is no plain host name")]
    UnclearName(DomainName),
    /// A rule says so.
    #[error("rule {rule} denies {target}{}", in_group(.group.as_deref()))]
    #[non_exhaustive]
    ByRule {
        /// Which one, in the order in which they were given, from 1.
        rule: usize,
        /// What it was asked about.
        target: Target,
        /// The name of the group that it is in, or its client, if the rule goes
        /// by groups.
        group: Option<Arc<str>>,
    },
    /// No rule allows it, and what no rule allows is denied.
    #[error("no rule allows {0}")]
    ByDefault(Target),
    /// The target came without an address to judge.
    #[error("{0} has no address")]
    NoAddress(Target),
    /// The proxy would connect to itself.
    #[error("{0} is this proxy")]
    Loop(SocketAddr),
}

fn in_group(group: Option<&str>) -> String {
    group.map_or_else(String::new, |group| format!(" (group {group:?})"))
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorKind::Denied, denied)
    }
}
