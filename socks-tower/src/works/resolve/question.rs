//! What is asked for, and what is answered without asking anybody.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use socks_core::{DomainName, Host};

/// A name or an address, as somebody wants to know more of it.
///
/// Names are equal with and without a dot at the end; questions are not, for that
/// dot keeps the search domains away.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    host: Host,
    is_absolute: bool,
}

impl Question {
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// What nobody is to be asked, and is answered here: the addresses, or none.
    ///
    /// - `localhost` and all beneath it is this host (RFC 6761 section 6.3).
    /// - `.onion` (RFC 7686) and `.invalid` (RFC 6761 section 6.4) have no address.
    pub(super) fn known(&self) -> Option<&'static [IpAddr]> {
        const LOOPBACK: [IpAddr; 2] = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        match &self.host {
            Host::Name(name) if name.is_within("localhost") => Some(&LOOPBACK),
            Host::Name(name) if name.is_within("onion") || name.is_within("invalid") => Some(&[]),
            _ => None,
        }
    }
}

impl From<DomainName> for Question {
    fn from(name: DomainName) -> Self {
        Self {
            is_absolute: name.as_str().ends_with('.'),
            host: name.into(),
        }
    }
}

impl From<IpAddr> for Question {
    fn from(ip: IpAddr) -> Self {
        Self {
            is_absolute: true,
            host: ip.into(),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str) -> Question {
        DomainName::new(name).unwrap().into()
    }

    #[test]
    fn names_that_no_server_is_asked_for_are_known_here() {
        for name in ["localhost", "LOCALHOST.", "foo.localhost", "a.b.Localhost."] {
            let known = question(name).known().unwrap();
            assert!(known.iter().all(IpAddr::is_loopback), "{name}");
            assert_eq!(known.len(), 2);
        }
        for name in ["onion", "a.onion", "a.ONION.", "invalid.", "b.a.invalid"] {
            assert_eq!(question(name).known(), Some(&[][..]), "{name}");
        }
        for name in [
            "localhost.example",
            "notlocalhost",
            "myonion",
            "invalid.example",
        ] {
            assert_eq!(question(name).known(), None, "{name}");
        }
    }

    #[test]
    fn a_dot_at_the_end_makes_another_question() {
        assert_eq!(question("db"), question("DB"));
        assert_ne!(question("db"), question("db."));
    }
}
