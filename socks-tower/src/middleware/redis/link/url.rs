#[cfg(unix)]
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;

/// Where Redis is, and who we are to it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) addr: Addr,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) login: RedisConnectionInfo,
}

#[derive(Clone, Debug)]
pub(super) enum Addr {
    Tcp(String, u16),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// Why a URL is none of a Redis.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no URL of a Redis: {why}")]
pub struct RedisUrlError {
    pub(super) why: String,
}

impl Place {
    /// Errors never say the URL, which has a password in it.
    pub(super) fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let error = |why: String| RedisUrlError { why };
        if of_tls(url).is_some() {
            return Err(error("it is for `Redis::open_tls`".to_owned()));
        }
        let info = redis::parse_redis_url(url)
            .ok_or_else(|| error("it does not begin with redis:// or unix:".to_owned()))?
            .into_connection_info()
            .map_err(|failed| error(failed.to_string()))?;
        let addr = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Addr::Tcp(host.clone(), *port),
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Addr::Unix(path.clone()),
            _ => return Err(error("its kind is not known".to_owned())),
        };
        // What is published comes between the answers in this one.
        let login = info.redis_settings().clone();
        let login = login.set_protocol(ProtocolVersion::RESP3);
        Ok(Self {
            addr,
            #[cfg(feature = "tls")]
            tls: None,
            login: login.set_skip_set_lib_name(),
        })
    }

    #[cfg(feature = "tls")]
    pub(super) fn parse_tls(url: &str, config: Arc<ClientConfig>) -> Result<Self, RedisUrlError> {
        let Some(rest) = of_tls(url) else {
            let why = "it does not begin with rediss://".to_owned();
            return Err(RedisUrlError { why });
        };
        // The crate takes such a URL with a TLS of its own alone.
        Ok(Self {
            tls: Some(config),
            ..Self::parse(&format!("redis://{rest}"))?
        })
    }
}

/// What follows the scheme, if that means TLS.
fn of_tls(url: &str) -> Option<&str> {
    let schemes = ["rediss://", "valkeys://"];
    schemes.iter().find_map(|scheme| url.strip_prefix(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_as_whom() {
        let place = Place::parse("redis://joe:s%40crt@[::1]:6380/3").unwrap();
        assert!(matches!(&place.addr, Addr::Tcp(host, 6380) if host == "::1"));
        assert_eq!(place.login.username(), Some("joe"));
        assert_eq!(place.login.password(), Some("s@crt"));
        assert_eq!(place.login.db(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_as_good() {
        let place = Place::parse("unix:///run/redis.sock?db=1&pass=secret").unwrap();
        assert!(matches!(&place.addr, Addr::Unix(path) if path.ends_with("run/redis.sock")));
        assert_eq!(
            (place.login.db(), place.login.password()),
            (1, Some("secret"))
        );
    }

    #[test]
    fn an_error_does_not_say_the_password() {
        for url in [
            "http://:secret@a",
            "rediss://:secret@a",
            ":secret@a",
            "redis://:secret@a/x",
            "redis://:secret@0.0.0.0",
        ] {
            let error = Place::parse(url).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
