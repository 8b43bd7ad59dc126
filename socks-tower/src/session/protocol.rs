use std::fmt;

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
    /// Another, which a first stage of one's own speaks, by the name that logs are to
    /// have for it.
    Other(&'static str),
}

impl Protocol {
    /// The name that logs have for it: `socks`, `http`, or that of another.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socks | Self::Socks4 | Self::Socks4a | Self::Socks5 => "socks",
            Self::Http | Self::Http10 | Self::Http11 => "http",
            Self::Other(name) => name,
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
