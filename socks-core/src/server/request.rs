//! What a client asks for, in any version.

use core::fmt;

use crate::{
    Target, v4,
    v5::{self, Command},
};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Version {
    /// SOCKS4.
    Socks4,
    /// SOCKS4 with names.
    Socks4a,
    /// SOCKS5.
    Socks5,
}

impl Version {
    /// `4`, `4a` or `5`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socks4 => "4",
            Self::Socks4a => "4a",
            Self::Socks5 => "5",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which versions a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub(super) v4: bool,
    pub(super) v5: bool,
}

impl Versions {
    /// SOCKS4, SOCKS4a and SOCKS5.
    pub const ALL: Self = Self { v4: true, v5: true };
    /// SOCKS4 and SOCKS4a.
    pub const SOCKS4: Self = Self {
        v4: true,
        v5: false,
    };
    /// SOCKS5.
    pub const SOCKS5: Self = Self {
        v4: false,
        v5: true,
    };
}

/// A request of any version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// What the client speaks.
    pub version: Version,
    /// What it asks for.
    pub command: Command,
    /// What the command is about.
    pub target: Target,
    /// Who a SOCKS4 client says it is; nothing backs it.
    pub user_id: Option<v4::UserId>,
}

impl From<v4::Request> for Request {
    fn from(request: v4::Request) -> Self {
        let version = if request.is_v4a() {
            Version::Socks4a
        } else {
            Version::Socks4
        };
        Self {
            version,
            command: request.command,
            target: request.target,
            user_id: Some(request.user_id),
        }
    }
}

impl From<v5::Request> for Request {
    fn from(request: v5::Request) -> Self {
        Self {
            version: Version::Socks5,
            command: request.command,
            target: request.target,
            user_id: None,
        }
    }
}
