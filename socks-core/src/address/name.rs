//! Host names.

use alloc::sync::Arc;
use core::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use super::literal::{ends_in_a_number, ip_literal, stem};
use crate::DomainNameError;

/// A host name of 1 to 255 bytes, as the one-byte length field can carry.
///
/// It is UTF-8 without NUL, control characters, spaces and what delimits a
/// host in a URL (`:/?#@[]\` and the like), so that it can be written into
/// SOCKS4a, an HTTP head or a log as it stands, and whoever reads it there
/// reads the same host. It has no empty label but the one that a trailing dot
/// makes. And it never spells an IP address, in any way that a resolver might
/// read as one ([`Host::parse`](crate::Host::parse) gives those as addresses). Cheap to
/// clone.
///
/// Two names are equal when they differ in ASCII case or a trailing dot alone.
/// The spelling that was given is kept.
///
/// ```
/// use socks_core::DomainName;
///
/// assert_eq!(DomainName::new("Example.COM.")?, DomainName::new("example.com")?);
/// assert!(DomainName::new("127.1").is_err());
/// # Ok::<(), socks_core::DomainNameError>(())
/// ```
#[derive(Clone)]
pub struct DomainName(Arc<str>);

impl DomainName {
    /// The longest name, in bytes: what RFC 1928 section 5's length byte can say.
    pub const MAX_LEN: usize = 255;

    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// [`DomainNameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, DomainNameError> {
        if name.len() > Self::MAX_LEN {
            return Err(DomainNameError::TooLong);
        }
        if name.chars().any(is_forbidden) {
            return Err(DomainNameError::Forbidden);
        }
        if stem(name).split('.').any(str::is_empty) {
            return Err(DomainNameError::Empty);
        }
        if ip_literal(name).is_some() || ends_in_a_number(name) {
            return Err(DomainNameError::IpAddress);
        }
        Ok(Self(name.into()))
    }

    /// Checks a name field as it was received.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`DomainNameError::NotUtf8`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, DomainNameError> {
        Self::new(utf8(name)?)
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn stem(&self) -> &str {
        stem(&self.0)
    }

    /// Whether this is `domain` or lies beneath it. A dot before `domain` is
    /// ignored, as are case and trailing dots.
    ///
    /// ```
    /// # use socks_core::DomainName;
    /// let name = DomainName::new("www.Example.com.")?;
    /// assert!(name.is_within("example.com"));
    /// assert!(!name.is_within("ample.com"));
    /// # Ok::<(), socks_core::DomainNameError>(())
    /// ```
    #[must_use]
    pub fn is_within(&self, domain: &str) -> bool {
        let domain = stem(domain.strip_prefix('.').unwrap_or(domain)).as_bytes();
        let name = self.stem().as_bytes();
        let Some(split) = name.len().checked_sub(domain.len()) else {
            return false;
        };
        let (front, back) = name.split_at(split);
        back.eq_ignore_ascii_case(domain) && matches!(front.last(), None | Some(b'.'))
    }

    pub(crate) fn wire(&self) -> (u8, &[u8]) {
        let len = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        (len, self.0.as_bytes())
    }
}

/// The URL standard's "forbidden domain code points", and all spaces and
/// controls besides.
fn is_forbidden(c: char) -> bool {
    let delimits = matches!(
        c,
        '#' | '%' | '/' | ':' | '<' | '>' | '?' | '@' | '[' | '\\' | ']' | '^' | '|'
    );
    delimits || c.is_control() || c.is_whitespace()
}

pub(super) fn utf8(name: &[u8]) -> Result<&str, DomainNameError> {
    match core::str::from_utf8(name) {
        Ok(name) => Ok(name),
        Err(_) => Err(DomainNameError::NotUtf8),
    }
}

impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.stem().eq_ignore_ascii_case(other.stem())
    }
}

impl Eq for DomainName {}

impl Hash for DomainName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.stem().bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    fn from_str(name: &str) -> Result<Self, DomainNameError> {
        Self::new(name)
    }
}

impl TryFrom<&str> for DomainName {
    type Error = DomainNameError;

    fn try_from(name: &str) -> Result<Self, DomainNameError> {
        Self::new(name)
    }
}

impl AsRef<str> for DomainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_smuggle_are_refused() {
        for name in [
            "a\0b", "a b", "a\r\nb", "a\u{85}b", "a\u{a0}b", "\u{3000}", "a\x7f",
        ] {
            assert_eq!(
                DomainName::new(name),
                Err(DomainNameError::Forbidden),
                "{name:?}"
            );
        }
        for name in [
            "a:80", "a/b", "a?b", "a#b", "u@a", "a[", "]a", "a\\b", "a%00", "a|b", "<a>", "a^",
        ] {
            assert_eq!(
                DomainName::new(name),
                Err(DomainNameError::Forbidden),
                "{name:?}"
            );
        }
        for name in ["", ".", "..", "a..", "a..b", ".a"] {
            assert_eq!(
                DomainName::new(name),
                Err(DomainNameError::Empty),
                "{name:?}"
            );
        }
        assert_eq!(
            DomainName::from_bytes(b"\xff"),
            Err(DomainNameError::NotUtf8)
        );
        assert!(DomainName::new(&"a".repeat(255)).is_ok());
        assert_eq!(
            DomainName::new(&"a".repeat(256)),
            Err(DomainNameError::TooLong)
        );
    }

    #[test]
    fn domains_end_at_a_dot() {
        let name: DomainName = "www.example.com".parse().unwrap();
        for domain in [
            "com",
            ".com",
            "example.com",
            "EXAMPLE.com.",
            ".example.com",
            "www.example.com",
        ] {
            assert!(name.is_within(domain), "{domain}");
        }
        for domain in ["ample.com", "w.example.com", "x.www.example.com", "org"] {
            assert!(!name.is_within(domain), "{domain}");
        }
    }
}
