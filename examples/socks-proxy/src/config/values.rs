//! Values of keys: what is said, and what it means.

use std::{
    env,
    error::Error as StdError,
    fmt, fs,
    marker::PhantomData,
    net::IpAddr,
    ops::{Deref, RangeInclusive},
    str::FromStr,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use socks_tower::IpNet;

/// A value that is said as a text, which is kept to be shown.
#[derive(Clone)]
pub struct Text<T> {
    text: String,
    value: T,
}

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T: FromStr> FromStr for Text<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let value = text.parse()?;
        Ok(Self {
            text: text.to_owned(),
            value,
        })
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Said(PhantomData))
    }
}

/// Parses where the deserializer still knows which line it is on.
struct Said<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Said<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        text.parse()
            .map_err(|error| E::custom(format_args!("{text:?}: {error}")))
    }
}

impl<T> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A text with a secret in it, which shows itself without. What is wrong with it is
/// found where it is used: whoever reports an error would show it.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $shown:ident) => {
        $(#[$doc])*
        #[derive(Clone, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The secret, too; that of `env:NAME` and `file:PATH` is there.
            pub fn reveal(&self) -> Result<String, String> {
                revealed(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match is_elsewhere(&self.0) {
                    true => f.write_str(&self.0),
                    false => f.write_str(&$shown(&self.0)),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

secret! {
    /// `NAME:PASSWORD`.
    Login, shown_login
}
secret! {
    /// What opens the page.
    Token, shown_token
}
secret! {
    /// A proxy's URL, with something before it or not.
    WayOut, shown_url
}

secret! {
    /// Where Redis is, and the password to it.
    RedisUrl, shown_redis
}

fn revealed(text: &str) -> Result<String, String> {
    let (read, what) = match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
        (Some(name), _) => (env::var(name).map_err(|error| error.to_string()), name),
        (_, Some(path)) => (
            fs::read_to_string(path).map_err(|error| error.to_string()),
            path,
        ),
        (None, None) => return Ok(text.to_owned()),
    };
    let secret = read.map_err(|error| format!("cannot read {what}: {error}"))?;
    Ok(secret.trim_end_matches(['\r', '\n']).to_owned())
}

/// It stands for a secret, and is none.
fn is_elsewhere(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

const HIDDEN: &str = "***";

fn shown_token(_: &str) -> String {
    HIDDEN.to_owned()
}

fn shown_login(text: &str) -> String {
    match text.split_once(':') {
        Some((name, _)) => format!("{name}:{HIDDEN}"),
        // It may be the password alone.
        None => HIDDEN.to_owned(),
    }
}

fn shown_url(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}"),
            None => text.to_owned(),
        },
        None if text.contains('@') => HIDDEN.to_owned(),
        None => text.to_owned(),
    }
}

/// The URL of a Unix socket has the password behind a question mark.
fn shown_redis(text: &str) -> String {
    match text.split_once('?') {
        Some((text, _)) => format!("{}?{HIDDEN}", shown_url(text)),
        None => shown_url(text),
    }
}

/// A time, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Seconds {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A network, or a single address.
#[derive(Clone, Copy)]
pub struct Net(pub IpNet);

impl FromStr for Net {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = match text.parse::<IpAddr>() {
            Ok(ip) => Ok(ip.into()),
            Err(_) => text.parse(),
        };
        net.map(Self)
            .map_err(|_| "not ADDRESS or ADDRESS/BITS, as 192.0.2.0/24 is")
    }
}

/// A mark of sockets, decimal or `0x` and hexadecimal.
#[derive(Clone, Copy)]
pub struct Mark(pub u32);

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mark = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        mark.map(Self).map_err(|_| "not a number of 32 bits")
    }
}

/// `LOW-HIGH`, or one port.
#[derive(Clone)]
pub struct Ports(pub RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = Box<dyn StdError + Send + Sync>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(format!("{text:?} is no port from 1 to 65535")),
        };
        let range = port(low)?..=port(high)?;
        if range.is_empty() {
            return Err("the first port is above the last".into());
        }
        Ok(Self(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for (text, shown) in [
            ("joe:s3cret", "joe:***"),
            ("s3cret", "***"),
            (":s3cret", ":***"),
        ] {
            assert_eq!(Login::from(text).to_string(), shown);
        }
        for (text, shown) in [
            (
                "socks5h://joe:s3cret@proxy:1080",
                "socks5h://***@proxy:1080",
            ),
            ("onion=http://joe:s3cret@a@proxy", "onion=http://***@proxy"),
            ("joe:s3cret@proxy", "***"),
            ("onion=direct", "onion=direct"),
            ("socks5://proxy", "socks5://proxy"),
        ] {
            assert_eq!(format!("{:?}", WayOut::from(text)), shown);
        }
        for (text, shown) in [
            ("redis://:s3cret@host:6379/0", "redis://***@host:6379/0"),
            ("unix:///run/redis?pass=s3cret", "unix:///run/redis?***"),
            (":s3cret@host", "***"),
        ] {
            assert_eq!(format!("{:?}", RedisUrl::from(text)), shown);
        }
    }
}
