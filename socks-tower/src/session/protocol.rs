use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use socks_core::{server::Version, v5::Method};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// SOCKS, of a version that is not known yet.
    Socks,
    /// SOCKS4.
    Socks4,
    /// SOCKS4 with names.
    Socks4a,
    /// SOCKS5.
    Socks5,
    /// HTTP, of a version that is not known yet.
    Http,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// Another, which a first stage of one's own speaks: see [`Protocol::other`].
    Other(OtherProtocol),
}

impl Protocol {
    /// A protocol that is not here, by the name that logs are to have for it.
    ///
    /// A program has 255 such names; those beyond are `other`.
    #[must_use]
    pub fn other(name: &'static str) -> Self {
        let mut names = OtherProtocol::names();
        let known = names.iter().position(|known| *known == name);
        let number = known.unwrap_or(names.len());
        let other = u8::try_from(number).map_or(OtherProtocol(u8::MAX), OtherProtocol);
        if known.is_none() && other.0 < u8::MAX {
            names.push(name);
        }
        Self::Other(other)
    }

    /// The name that logs have for it: `socks`, `http`, or that of another.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Socks | Self::Socks4 | Self::Socks4a | Self::Socks5 => "socks",
            Self::Http | Self::Http10 | Self::Http11 => "http",
            Self::Other(other) => other.name(),
        }
    }

    /// Its version, such as `4a`; none if that is not known.
    #[must_use]
    pub const fn version(self) -> Option<&'static str> {
        match self {
            Self::Socks4 => Some("4"),
            Self::Socks4a => Some("4a"),
            Self::Socks5 => Some("5"),
            Self::Http10 => Some("1.0"),
            Self::Http11 => Some("1.1"),
            Self::Socks | Self::Http | Self::Other(_) => None,
        }
    }

    /// Whether it is SOCKS4 or SOCKS4a, whose replies have room for IPv4 alone.
    #[must_use]
    pub const fn is_socks4(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a)
    }
}

/// A number for a name: a session is copied from stage to stage, and a name would
/// make it larger.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OtherProtocol(u8);

static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

impl OtherProtocol {
    fn names() -> MutexGuard<'static, Vec<&'static str>> {
        NAMES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that logs have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let names = Self::names();
        names.get(usize::from(self.0)).copied().unwrap_or("other")
    }
}

impl fmt::Debug for OtherProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OtherProtocol").field(&self.name()).finish()
    }
}

impl From<Version> for Protocol {
    fn from(version: Version) -> Self {
        match version {
            Version::Socks4 => Self::Socks4,
            Version::Socks4a => Self::Socks4a,
            Version::Socks5 => Self::Socks5,
            _ => Self::Socks,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.version()) {
            ("socks", Some(version)) => write!(f, "socks{version}"),
            (name, Some(version)) => write!(f, "{name}/{version}"),
            (name, None) => f.write_str(name),
        }
    }
}

/// By what a client has shown who it is.
///
/// Verifiers may give the same name to different people: rules tell them apart
/// by [`Match::method`](crate::Match::method).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthenticatedBy {
    /// A method of SOCKS5. HTTP's Basic is
    /// [`Method::USERNAME_PASSWORD`] too: it claims the same.
    Method(Method),
    /// The user id of SOCKS4, which a verifier believed.
    UserId,
    /// The certificate that it came with to TLS.
    Certificate,
}

impl From<Method> for AuthenticatedBy {
    fn from(method: Method) -> Self {
        Self::Method(method)
    }
}

/// A word for it, as logs want it: `none`, `password`, `gssapi`, `user_id`,
/// `certificate`.
impl fmt::Display for AuthenticatedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(Method::NONE) => f.write_str("none"),
            Self::Method(Method::GSSAPI) => f.write_str("gssapi"),
            Self::Method(Method::USERNAME_PASSWORD) => f.write_str("password"),
            Self::Method(Method(code)) => write!(f, "method_{code:#04x}"),
            Self::UserId => f.write_str("user_id"),
            Self::Certificate => f.write_str("certificate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_protocol_has_its_name_and_takes_no_room() {
        let one = Protocol::other("one");
        assert_eq!((one.name(), one.version()), ("one", None));
        assert_eq!(one, Protocol::other("one"));
        assert_ne!(one, Protocol::other("two"));
        assert_eq!(
            format!("{one} {one:?}"),
            "one Other(OtherProtocol(\"one\"))"
        );
        assert!(size_of::<Option<Protocol>>() <= 2);
    }
}
