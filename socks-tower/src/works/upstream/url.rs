use std::{fmt, str::FromStr};

use socks_core::{Credentials, FieldError, Host, ParseTargetError, Target, v4::UserId};
use thiserror::Error;

/// A proxy as a URL names it: `socks5h://user:password@host:port`.
///
/// | scheme | proxy | port unless given | names are looked up |
/// |---|---|---|---|
/// | `socks5h` | SOCKS5 | 1080 | by the proxy |
/// | `socks5` | SOCKS5 | 1080 | here |
/// | `socks4a` | SOCKS4a | 1080 | by the proxy |
/// | `socks4` | SOCKS4 | 1080 | here, and to IPv4 addresses |
/// | `http` | HTTP CONNECT, with the feature `http-connect` | 80 | by the proxy |
/// | `https` | the same over TLS, with the feature `tls` too | 443 | by the proxy |
///
/// They are curl's. User and password are percent-decoded, and 1 to 255 bytes
/// each; SOCKS4 has a user id alone: `socks4a://joe@host`. Anything else that a URL
/// can hold, a path, a query, a fragment, is an error; a `/` behind the port is none.
///
/// It prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    pub(super) scheme: Scheme,
    pub(super) proxy: Target,
    pub(super) login: Login,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Socks4,
    Socks4a,
    Socks5,
    Socks5h,
    #[cfg(feature = "http-connect")]
    Http,
    #[cfg(all(feature = "http-connect", feature = "tls"))]
    Https,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    None,
    UserId(UserId),
    Credentials(Credentials),
}

/// A string is no URL of a proxy.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{url}: {reason}")]
pub struct ParseProxyUrlError {
    /// Without its password.
    url: String,
    reason: Reason,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum Reason {
    #[error("no `scheme://`")]
    NoScheme,
    #[error("the scheme is none of {}", Scheme::LIST)]
    UnknownScheme,
    #[error("a path, a query or a fragment means nothing to a proxy")]
    Path,
    #[error("no such host")]
    Host(#[source] ParseTargetError),
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("SOCKS4 has no passwords")]
    PasswordOfSocks4,
    #[error("a `%` is followed by no two hexadecimal digits")]
    Percent,
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Scheme {
    const LIST: &'static str = if cfg!(all(feature = "http-connect", feature = "tls")) {
        "socks5h, socks5, socks4a, socks4, http, https"
    } else if cfg!(feature = "http-connect") {
        "socks5h, socks5, socks4a, socks4, http"
    } else {
        "socks5h, socks5, socks4a, socks4"
    };

    fn parse(scheme: &str) -> Option<Self> {
        Some(match scheme.to_ascii_lowercase().as_str() {
            "socks4" => Self::Socks4,
            "socks4a" => Self::Socks4a,
            "socks5" => Self::Socks5,
            "socks5h" => Self::Socks5h,
            #[cfg(feature = "http-connect")]
            "http" => Self::Http,
            #[cfg(all(feature = "http-connect", feature = "tls"))]
            "https" => Self::Https,
            _ => return None,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
            #[cfg(feature = "http-connect")]
            Self::Http => "http",
            #[cfg(all(feature = "http-connect", feature = "tls"))]
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            #[cfg(feature = "http-connect")]
            Self::Http => 80,
            #[cfg(all(feature = "http-connect", feature = "tls"))]
            Self::Https => 443,
            _ => 1080,
        }
    }
}

impl ProxyUrl {
    /// Where the proxy is.
    #[must_use]
    pub fn proxy(&self) -> &Target {
        &self.proxy
    }

    /// Whether names are looked up here, and the proxy is told addresses.
    #[must_use]
    pub fn resolves_locally(&self) -> bool {
        matches!(self.scheme, Scheme::Socks4 | Scheme::Socks5)
    }

    /// Whether the way to the proxy is TLS, for which
    /// [`ProxyConnector::with_tls`](super::ProxyConnector::with_tls) has to say how.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        match self.scheme {
            #[cfg(feature = "http-connect")]
            Scheme::Https => true,
            _ => false,
        }
    }

    /// As curl reads it: without a scheme, it is HTTP.
    pub(super) fn parse_or_http(url: &str) -> Result<Self, ParseProxyUrlError> {
        match url.contains("://") {
            true => url.parse(),
            false => format!("http://{url}").parse(),
        }
    }

    fn read(url: &str) -> Result<Self, Reason> {
        let (scheme, rest) = url.split_once("://").ok_or(Reason::NoScheme)?;
        let scheme = Scheme::parse(scheme).ok_or(Reason::UnknownScheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, rest),
        };
        if host.contains(['/', '?', '#']) {
            return Err(Reason::Path);
        }
        Ok(Self {
            scheme,
            proxy: target(host, scheme.port()).map_err(Reason::Host)?,
            login: login.map_or(Ok(Login::None), |login| Login::read(scheme, login))?,
        })
    }
}

impl Login {
    pub(super) fn credentials(self) -> Option<Credentials> {
        match self {
            Self::Credentials(credentials) => Some(credentials),
            Self::None | Self::UserId(_) => None,
        }
    }

    fn read(scheme: Scheme, login: &str) -> Result<Self, Reason> {
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let user = decoded("the user name", user)?;
        if let Scheme::Socks4 | Scheme::Socks4a = scheme {
            return match password {
                Some(_) => Err(Reason::PasswordOfSocks4),
                None => Ok(Self::UserId(UserId::new(&user)?)),
            };
        }
        let password = decoded("the password", password.unwrap_or_default())?;
        Ok(Self::Credentials(Credentials::new(user, password)?))
    }
}

fn target(host: &str, port: u16) -> Result<Target, ParseTargetError> {
    match host.contains(':') && !host.ends_with(']') {
        true => host.parse(),
        false => Ok(Target::new(Host::parse(host)?, port)),
    }
}

/// What is percent-encoded, and not empty.
fn decoded(what: &'static str, text: &str) -> Result<Vec<u8>, Reason> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().zip(digit()).map(|(high, low)| high << 4 | low);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or(Reason::Percent)?
            }
            byte => byte,
        });
    }
    match decoded.is_empty() {
        true => Err(Reason::Empty(what)),
        false => Ok(decoded),
    }
}

/// `url` as it may be shown. Whatever stands where a password may stand is hidden.
fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", url),
    };
    let (login, host) = match rest.rfind('@') {
        Some(at) => rest.split_at(at),
        // Somebody may have forgotten the host.
        None if !rest.ends_with(|last: char| last.is_ascii_digit()) => (rest, ""),
        None => ("", rest),
    };
    let user = login.split_once(':').map_or(login, |(user, _)| user);
    let hidden = if user.len() < login.len() { ":***" } else { "" };
    let end = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{end}{user}{hidden}{host}")
}

impl FromStr for ProxyUrl {
    type Err = ParseProxyUrlError;

    fn from_str(url: &str) -> Result<Self, ParseProxyUrlError> {
        Self::read(url).map_err(|reason| ParseProxyUrlError {
            url: redacted(url),
            reason,
        })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.login {
            Login::None => {}
            Login::UserId(user_id) => write!(f, "{}@", user_id.as_bytes().escape_ascii())?,
            Login::Credentials(credentials) => {
                let username = credentials.username.as_bytes();
                write!(f, "{}:***@", username.escape_ascii())?;
            }
        }
        self.proxy.fmt(f)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> ProxyUrl {
        url.parse().unwrap()
    }

    fn error(url: &str) -> String {
        url.parse::<ProxyUrl>().unwrap_err().to_string()
    }

    #[test]
    fn a_url_names_a_proxy() {
        for (url, proxy, locally) in [
            ("socks5h://proxy.example", "proxy.example:1080", false),
            ("socks5://192.0.2.1:9050", "192.0.2.1:9050", true),
            ("SOCKS4A://[2001:db8::1]", "[2001:db8::1]:1080", false),
            ("socks4://[2001:db8::1]:1/", "[2001:db8::1]:1", true),
        ] {
            assert_eq!(parse(url).proxy().to_string(), proxy);
            assert_eq!(parse(url).resolves_locally(), locally, "{url}");
        }
        #[cfg(feature = "http-connect")]
        assert_eq!(parse("http://a.b/").proxy().to_string(), "a.b:80");
        #[cfg(all(feature = "http-connect", feature = "tls"))]
        for (url, proxy) in [
            ("https://a.b", "a.b:443"),
            ("HTTPS://joe:x@[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(parse(url).proxy().to_string(), proxy);
            assert!(parse(url).is_over_tls() && !parse(url).resolves_locally());
        }
    }

    #[test]
    fn who_we_are_is_percent_decoded() {
        let credentials = |url| parse(url).login.credentials().unwrap();
        for (url, username, password) in [
            ("socks5://joe:secret@a", "joe", "secret"),
            ("socks5h://j%4fe:%3a%40%2F@a", "jOe", ":@/"),
            ("socks5://joe:a:b@c@a", "joe", "a:b@c"),
            ("socks5://joe:a/b@a:1", "joe", "a/b"),
        ] {
            let expected = Credentials::new(username, password).unwrap();
            assert_eq!(credentials(url), expected, "{url}");
        }
        let long = "x".repeat(255);
        assert_eq!(
            credentials(&format!("socks5://{long}:{long}@a")),
            Credentials::new(&long, &long).unwrap()
        );
        let joe = Login::UserId(UserId::new(b"joe").unwrap());
        assert!(parse("socks4a://j%6fe@a").login == joe);
    }

    #[test]
    fn what_means_nothing_is_an_error() {
        for url in [
            "",
            "a:1080",
            "socks://a",
            "socks6://a",
            "socks5://",
            "socks5://a/b",
            "socks5://a?b",
            "socks5://a#b",
            "socks5://a:0x50",
            "socks5://a:+80",
            "socks5://a:65536",
            "socks5://a:",
            "socks5://::1",
            "socks5://a b",
            "socks5://joe@a",
            "socks5://joe:@a",
            "socks5://:secret@a",
            "socks5://@a",
            "socks4://joe:secret@a",
            "socks4://%00@a",
            "socks5://%4:b@a",
            "socks5://%+4:b@a",
            "socks5://%zz:b@a",
        ] {
            error(url);
        }
        error(&format!("socks5://{}:b@a", "x".repeat(256)));
        error(&format!("socks5://b:{}@a", "x".repeat(256)));
    }

    #[test]
    fn no_password_is_ever_shown() {
        for url in [
            "socks6://joe:secret@a",
            "socks5://joe:secret@a/b",
            "socks5://joe:se@secret@a:",
            "joe:secret@a",
            "socks5://joe:secret",
            "socks4://joe:secret@a",
        ] {
            let error = error(url);
            assert!(!error.contains("secret"), "{error}");
            assert!(error.contains("joe:***"), "{error}");
        }
        let url = parse("socks5h://joe:secret@a");
        assert_eq!(url.to_string(), "socks5h://joe:***@a:1080");
        assert_eq!(format!("{url:?}"), "ProxyUrl(socks5h://joe:***@a:1080)");
    }
}
