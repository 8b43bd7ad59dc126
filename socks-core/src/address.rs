//! Where a client wants to go: a host and a port.

use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use crate::DomainNameError;

/// A host name of 1 to 255 bytes, as the one-byte length field can carry.
///
/// It is UTF-8 without NUL, control characters, spaces and what delimits a
/// host in a URL (`:/?#@[]\` and the like), so that it can be written into
/// SOCKS4a, an HTTP head or a log as it stands, and whoever reads it there
/// reads the same host. It has no empty label but the one that a trailing dot
/// makes. And it never spells an IP address, in any way that a resolver might
/// read as one ([`Host::parse`] gives those as addresses). Cheap to clone.
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

/// A name without the dot that may end it.
fn stem(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
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

fn utf8(name: &[u8]) -> Result<&str, DomainNameError> {
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

/// An IP address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, which somebody has to look up.
    Name(DomainName),
}

impl Host {
    /// Reads an address in any spelling that a resolver would take for one,
    /// else a name.
    ///
    /// That is: IPv6 with or without brackets and zone, and all of what
    /// `inet_aton` takes: `127.0.0.1`, `127.1`, `0x7f.1`, `017700000001`,
    /// `2130706433`, each with or without a trailing dot. A rule that is
    /// asked about a name thus never overlooks an address.
    ///
    /// # Errors
    ///
    /// [`DomainNameError`], if it is neither. A name that ends in a number
    /// without being an address (`1.2.3.4.5`, `127.0.0.09`) is one that
    /// resolvers disagree about, and refused.
    pub fn parse(host: &str) -> Result<Self, DomainNameError> {
        match ip_literal(host) {
            Some(ip) => Ok(Self::Ip(ip)),
            None => DomainName::new(host).map(Self::Name),
        }
    }

    pub(crate) fn from_name_field(host: &[u8]) -> Result<Self, DomainNameError> {
        Self::parse(utf8(host)?)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for Host {
    type Err = DomainNameError;

    fn from_str(host: &str) -> Result<Self, DomainNameError> {
        Self::parse(host)
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl From<DomainName> for Host {
    fn from(name: DomainName) -> Self {
        Self::Name(name)
    }
}

/// A host and a port: DST.ADDR and DST.PORT of a request, BND.ADDR and
/// BND.PORT of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The address or the name.
    pub host: Host,
    /// The port, in host byte order.
    pub port: u16,
}

impl Target {
    /// `0.0.0.0:0`, which says "none" or "not known" in requests and replies.
    pub const UNSPECIFIED: Self = Self {
        host: Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        port: 0,
    };

    /// A host and a port.
    pub fn new(host: impl Into<Host>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// The socket address, if the host is an address.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip(), addr.port())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Reads `HOST:PORT`, an IPv6 address in brackets.
impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(target: &str) -> Result<Self, ParseTargetError> {
        let (host, port) = target.rsplit_once(':').ok_or(ParseTargetError::NoPort)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(ParseTargetError::NoPort);
        }
        // `u16::from_str` takes a sign; a port has none.
        let port = match port.parse() {
            Ok(port_number) if is_digits(port) => port_number,
            _ => return Err(ParseTargetError::Port),
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A string is no `HOST:PORT`.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseTargetError {
    /// There is no `:PORT`, or an IPv6 address without brackets.
    #[error("no port")]
    NoPort,
    /// The port is no number from 0 to 65535.
    #[error("port is no number from 0 to 65535")]
    Port,
    /// The host is neither an address nor a name.
    #[error(transparent)]
    Host(#[from] DomainNameError),
}

/// An address in any spelling that a resolver takes without asking anybody.
fn ip_literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let (v6, _zone) = bare.split_once('%').unwrap_or((bare, ""));
    if let Ok(ip) = v6.parse::<Ipv6Addr>() {
        return Some(ip.into());
    }
    inet_aton(stem(host)).map(IpAddr::V4)
}

/// One to four numbers, decimal, octal (`0…`) or hexadecimal (`0x…`); the last
/// one fills all bytes that are left.
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (&last, bytes) = numbers.split_last()?;
    let room = 4_u32.checked_sub(u32::try_from(bytes.len()).ok()?)?;
    if room == 0 || u64::from(last) >= 1 << (8 * room) {
        return None;
    }
    bytes
        .iter()
        .zip([24, 16, 8])
        .try_fold(last, |ip, (&byte, shift)| {
            (byte <= 0xff).then_some(ip | byte << shift)
        })
        .map(Ipv4Addr::from)
}

fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// As the URL standard says it: such a host is an IPv4 address or a mistake.
fn ends_in_a_number(host: &str) -> bool {
    let host = stem(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => is_digits(last),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_an_address() {
        let loopback = Host::Ip(Ipv4Addr::LOCALHOST.into());
        for spelling in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0X7F.0.0.1",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "2130706433",
            "2130706433.",
            "127.0x1",
            "127.0.0.01",
            "00000177.1",
        ] {
            assert_eq!(Host::parse(spelling), Ok(loopback.clone()), "{spelling}");
        }
        for spelling in ["::1", "[::1]", "::1%lo", "[::1%1]", "0:0:0:0:0:0:0:1"] {
            assert_eq!(
                Host::parse(spelling),
                Ok(Host::Ip(Ipv6Addr::LOCALHOST.into())),
                "{spelling}"
            );
        }
        assert_eq!(Host::parse("0"), Ok(Host::Ip(Ipv4Addr::UNSPECIFIED.into())));
    }

    #[test]
    fn what_resolvers_disagree_about_is_no_name() {
        for host in [
            "1.2.3.4.5",
            "127.0.0.09",
            "6425673729",
            "256.256.256.256",
            "a.1",
            "0x",
            "foo.0x7f",
            "127.0.0.1.1.",
            "127.0.0.1..",
            "[127.0.0.1]",
            "127.0.0.1%lo",
            "[::1]:80",
            "::1.",
            "+1",
            "0x+1",
        ] {
            let parsed = Host::parse(host);
            let is_name = matches!(parsed, Ok(Host::Name(_)));
            assert_eq!(is_name, host.contains('+'), "{host}: {parsed:?}");
            assert!(!matches!(parsed, Ok(Host::Ip(_))), "{host}");
        }
    }

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

    #[test]
    fn targets_read_as_they_print() {
        for target in ["example.com:443", "127.0.0.1:80", "[::1]:0"] {
            assert_eq!(target.parse::<Target>().unwrap().to_string(), target);
        }
        for target in [
            "example.com",
            "::1:80",
            "example.com:",
            "example.com:+1",
            "a:65536",
            "a:-1",
            "a: 1",
            "a:80:80",
            "[a]:80",
            ":80",
        ] {
            assert!(target.parse::<Target>().is_err(), "{target}");
        }
    }
}
