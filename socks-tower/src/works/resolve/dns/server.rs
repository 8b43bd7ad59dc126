//! Which servers are asked, and how.

#[cfg(feature = "dns-over-tls")]
use std::sync::Arc;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

/// A DNS server: where it is, and how to speak to it.
///
/// From a text, it is one of these; the port may be left out.
///
/// | text | how it is asked |
/// |---|---|
/// | `192.0.2.53`, `127.0.0.1:5353`, `2001:db8::53`, `[::1]:53` | UDP, and TCP for what does not fit |
/// | `tls://192.0.2.53`, `tls://192.0.2.53:853#dns.example` | TLS (RFC 7858), feature `dns-over-tls` |
/// | `https://192.0.2.53/dns-query`, `https://[::1]:8443/dns-query#dns.example` | HTTPS (RFC 8484), feature `dns-over-https` |
///
/// Behind `#` is the name that its certificate must have; without it, that is the
/// address. A server's own name is never looked up: by whom?
///
/// ```
/// use socks_tower::works::resolve::DnsServer;
///
/// let server: DnsServer = "127.0.0.1:5353".parse()?;
/// assert_eq!(server.to_string(), "127.0.0.1:5353");
/// assert!("dns.example".parse::<DnsServer>().is_err());
/// # Ok::<(), socks_tower::works::resolve::DnsServerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsServer {
    addr: SocketAddr,
    transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Transport {
    Plain,
    #[cfg(feature = "dns-over-tls")]
    Tls {
        name: Arc<str>,
    },
    #[cfg(feature = "dns-over-https")]
    Https {
        name: Arc<str>,
        path: Arc<str>,
    },
}

/// A text is no [`DnsServer`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsServerError {
    /// There is no address in it.
    #[error(
        "{0:?} is no address of a DNS server; the name of its certificate, if any, goes behind #"
    )]
    NotAnAddress(String),
    /// The program was built without the feature that this needs.
    #[error("{text:?} needs the feature {feature}")]
    #[non_exhaustive]
    NotSupported {
        /// What was to be a server.
        text: String,
        /// `dns-over-tls` or `dns-over-https`.
        feature: &'static str,
    },
}

impl DnsServer {
    /// Asks at `addr` over UDP, and over TCP what does not fit.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            transport: Transport::Plain,
        }
    }

    /// Asks at `addr` over TLS (RFC 7858), if its certificate is that of `name`.
    #[cfg(feature = "dns-over-tls")]
    #[must_use]
    pub fn tls(addr: SocketAddr, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self {
            addr,
            transport: Transport::Tls { name },
        }
    }

    /// Asks at `addr` over HTTPS (RFC 8484) for `path`, if its certificate is that of
    /// `name`.
    #[cfg(feature = "dns-over-https")]
    #[must_use]
    pub fn https(addr: SocketAddr, name: impl Into<Arc<str>>, path: impl Into<Arc<str>>) -> Self {
        Self {
            addr,
            transport: Transport::Https {
                name: name.into(),
                path: path.into(),
            },
        }
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    #[cfg(feature = "dns-over-tls")]
    pub(super) fn is_encrypted(&self) -> bool {
        !matches!(self.transport, Transport::Plain)
    }

    pub(super) fn config(&self) -> NameServerConfig {
        let connections = match &self.transport {
            Transport::Plain => vec![ConnectionConfig::udp(), ConnectionConfig::tcp()],
            #[cfg(feature = "dns-over-tls")]
            Transport::Tls { name } => vec![ConnectionConfig::tls(name.clone())],
            #[cfg(feature = "dns-over-https")]
            Transport::Https { name, path } => {
                vec![ConnectionConfig::https(name.clone(), Some(path.clone()))]
            }
        };
        let at_port = |mut connection: ConnectionConfig| {
            connection.port = self.addr.port();
            connection
        };
        let connections = connections.into_iter().map(at_port).collect();
        NameServerConfig::new(self.addr.ip(), true, connections)
    }
}

impl From<SocketAddr> for DnsServer {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr)
    }
}

impl From<IpAddr> for DnsServer {
    fn from(ip: IpAddr) -> Self {
        Self::new((ip, 53).into())
    }
}

impl FromStr for DnsServer {
    type Err = DnsServerError;

    fn from_str(text: &str) -> Result<Self, DnsServerError> {
        let not_an_address = || DnsServerError::NotAnAddress(text.to_owned());
        let (rest, name) = match text.split_once('#') {
            Some((rest, name)) => (rest, Some(name)),
            None => (text, None),
        };
        let addr = |text, port| parse_addr(text, port).ok_or_else(not_an_address);
        #[cfg(not(feature = "dns-over-https"))]
        let needs = |feature| DnsServerError::NotSupported {
            text: text.to_owned(),
            feature,
        };
        if let Some(rest) = rest.strip_prefix("tls://") {
            #[cfg(feature = "dns-over-tls")]
            {
                let addr = addr(rest, 853)?;
                return Ok(Self::tls(addr, name_or(name, addr)));
            }
            #[cfg(not(feature = "dns-over-tls"))]
            return addr(rest, 853).and(Err(needs("dns-over-tls")));
        }
        if let Some(rest) = rest.strip_prefix("https://") {
            let (rest, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, "/dns-query"),
            };
            #[cfg(feature = "dns-over-https")]
            {
                let addr = addr(rest, 443)?;
                return Ok(Self::https(addr, name_or(name, addr), path));
            }
            #[cfg(not(feature = "dns-over-https"))]
            return addr(rest, 443)
                .and(Err(needs("dns-over-https")))
                .inspect_err(|_| _ = path);
        }
        match name {
            None => Ok(Self::new(addr(rest, 53)?)),
            // Nothing would look at it.
            Some(_) => Err(not_an_address()),
        }
    }
}

/// An address with a port, or without one, in brackets or not.
fn parse_addr(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
    Some((ip, port).into())
}

#[cfg(feature = "dns-over-tls")]
fn name_or(name: Option<&str>, addr: SocketAddr) -> Arc<str> {
    name.map_or_else(|| addr.ip().to_string().into(), Arc::from)
}

/// As it is read.
impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Plain => self.addr.fmt(f),
            #[cfg(feature = "dns-over-tls")]
            Transport::Tls { name } => write!(f, "tls://{}#{name}", self.addr),
            #[cfg(feature = "dns-over-https")]
            Transport::Https { name, path } => write!(f, "https://{}{path}#{name}", self.addr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_servers_are_read_with_and_without_a_port() {
        for (text, addr) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            let server: DnsServer = text.parse().unwrap();
            assert_eq!(server.to_string(), addr);
            assert_eq!(server.config().connections.len(), 2);
        }
        for bad in [
            "",
            "dns.example",
            "192.0.2.53#dns.example",
            "udp://192.0.2.53",
            ":53",
        ] {
            let error = bad.parse::<DnsServer>().unwrap_err();
            assert!(matches!(error, DnsServerError::NotAnAddress(_)), "{bad}");
        }
    }

    #[cfg(feature = "dns-over-https")]
    #[test]
    fn encrypted_servers_have_the_name_of_their_certificate_or_their_address_for_one() {
        for (text, printed) in [
            ("tls://192.0.2.53", "tls://192.0.2.53:853#192.0.2.53"),
            (
                "tls://[::1]:8853#dns.example",
                "tls://[::1]:8853#dns.example",
            ),
            (
                "https://192.0.2.53",
                "https://192.0.2.53:443/dns-query#192.0.2.53",
            ),
            (
                "https://[::1]:8443/other#dns.example",
                "https://[::1]:8443/other#dns.example",
            ),
        ] {
            let server: DnsServer = text.parse().unwrap();
            assert_eq!(server.to_string(), printed);
            assert!(server.is_encrypted());
        }
        for bad in ["tls://dns.example", "https://dns.example/dns-query"] {
            let error = bad.parse::<DnsServer>().unwrap_err();
            assert!(matches!(error, DnsServerError::NotAnAddress(_)), "{bad}");
        }
    }
}
