//! A host and a port.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use super::{host::Host, literal::is_digits};
use crate::DomainNameError;

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

/// A string is no `HOST:PORT`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

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
