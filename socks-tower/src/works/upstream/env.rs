use std::env;

use socks_core::Target;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;
use tower_service::Service;

use super::{ParseProxyUrlError, ProxyConnector, ProxyUrl, no_proxy::NoProxy};
use crate::session::{
    BoxError, BoxStream, BoxWork, Connector, IntoOutbound, Outbound, Request, Work, always_ready,
    opaque_future,
};

/// The proxies that the environment names, as curl reads it.
///
/// - `https_proxy`, or else `all_proxy`, is the proxy: a [`ProxyUrl`], which may
///   leave out `http://`. Both lead to targets of any protocol, in tunnels; so
///   `http_proxy`, which is asked for pages, is not looked at.
/// - `no_proxy` lists who is reached without one, with commas or blanks between:
///   `example.com`, with or without a leading dot, is that host and all beneath it;
///   `192.0.2.1`, `2001:db8::/32` an address and a network; `*`, alone, everything.
///   With a port, `example.com:8080`, it is that port alone, which curl does not
///   know.
///
/// Each is looked for in lower case first, then in upper case. One that is empty
/// counts as not set.
#[derive(Clone, Debug, Default)]
pub struct EnvProxies {
    proxy: Option<ProxyUrl>,
    no_proxy: NoProxy,
}

/// The environment does not name proxies as it should.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// A variable is no URL of a proxy.
    #[error("{variable}")]
    #[non_exhaustive]
    Url {
        /// Its name.
        variable: String,
        /// What is wrong with it.
        source: ParseProxyUrlError,
    },
    /// A variable is not UTF-8.
    #[error("{variable} is not UTF-8")]
    #[non_exhaustive]
    NotUtf8 {
        /// Its name.
        variable: String,
    },
}

impl EnvProxies {
    /// What the environment of this process says now.
    ///
    /// # Errors
    ///
    /// If what it says is no proxy that we speak to.
    pub fn from_env() -> Result<Self, EnvError> {
        Self::from_variables(|name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(EnvError::NotUtf8 {
                variable: name.to_owned(),
            }),
        })
    }

    fn from_variables(
        get: impl Fn(&str) -> Result<Option<String>, EnvError>,
    ) -> Result<Self, EnvError> {
        let either = |lower: &str| {
            for name in [lower.to_owned(), lower.to_uppercase()] {
                if let Some(value) = get(&name)? {
                    return Ok(Some((name, value)));
                }
            }
            Ok(None)
        };
        let set = |lower| Ok(either(lower)?.filter(|(_, value)| !value.is_empty()));
        let proxy = match set("https_proxy")? {
            Some(proxy) => Some(proxy),
            None => set("all_proxy")?,
        };
        let proxy = proxy.map(|(variable, url)| {
            ProxyUrl::parse_or_http(&url).map_err(|source| EnvError::Url { variable, source })
        });
        let no_proxy = set("no_proxy")?.map(|(_, list)| NoProxy::parse(&list));
        Ok(Self {
            proxy: proxy.transpose()?,
            no_proxy: no_proxy.unwrap_or_default(),
        })
    }

    /// The proxy for `target`; none if it is reached without.
    #[must_use]
    pub fn proxy_for(&self, target: &Target) -> Option<&ProxyUrl> {
        let proxy = self.proxy.as_ref()?;
        (!self.no_proxy.includes(target)).then_some(proxy)
    }
}

/// Connects through the proxy that the environment names, or by `C` alone if it
/// names none, or none for a target. `C` reaches the proxy, too.
///
/// ```
/// use socks_tower::works::upstream::{EnvConnector, EnvProxies, direct};
///
/// let connector = EnvConnector::new(EnvProxies::from_env()?, direct());
/// # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
/// # check(connector);
/// # Ok::<(), socks_tower::works::upstream::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct EnvConnector<C> {
    no_proxy: NoProxy,
    proxy: Option<ProxyConnector<C>>,
    inner: C,
}

impl<C: Clone> EnvConnector<C> {
    /// As `proxies` say.
    #[must_use]
    pub fn new(proxies: EnvProxies, inner: C) -> Self {
        let EnvProxies { proxy, no_proxy } = proxies;
        Self {
            no_proxy,
            proxy: proxy.map(|url| ProxyConnector::new(url, inner.clone())),
            inner,
        }
    }

    /// How to speak TLS to the proxy, if it is one of `https://`: see
    /// [`ProxyConnector::with_tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, config: &ClientConfig) -> Self {
        self.proxy = self.proxy.map(|proxy| proxy.with_tls(config));
        self
    }
}

opaque_future! {
    /// The future of [`EnvConnector`].
    EnvConnectorFuture<> -> Result<Outbound<BoxStream>, BoxError> = BoxWork<Outbound<BoxStream>>
}

impl<C: Connector<Request>> Service<Request> for EnvConnector<C> {
    type Response = Outbound<BoxStream>;
    type Error = BoxError;
    type Future = EnvConnectorFuture;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let proxy = self.proxy.clone();
        let proxy = proxy.filter(|_| !self.no_proxy.includes(&request.target));
        let inner = self.inner.clone();
        EnvConnectorFuture::new(Box::pin(async move {
            match proxy {
                Some(proxy) => proxy.run(request).await,
                None => Ok(inner
                    .run(request)
                    .await?
                    .into_outbound()
                    .map_io(BoxStream::new)),
            }
        }))
    }
}

#[cfg(feature = "hyper")]
super::uri::uri_connector!(EnvConnector);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use socks_core::v5::Command;
    use tokio::io::{DuplexStream, duplex};
    use tower::service_fn;

    use super::*;
    use crate::session::Session;

    fn proxies(variables: &[(&str, &str)]) -> Result<EnvProxies, EnvError> {
        EnvProxies::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        })
    }

    fn proxy(variables: &[(&str, &str)], target: &str) -> Option<String> {
        let proxies = proxies(variables).unwrap();
        let proxy = proxies.proxy_for(&target.parse().unwrap());
        proxy.map(ToString::to_string)
    }

    #[test]
    fn lower_case_comes_first_and_the_special_before_the_general() {
        let url = |variables: &[_]| proxy(variables, "example.com:443").unwrap_or_default();
        let all = ("ALL_PROXY", "socks5h://all");
        assert_eq!(url(&[all]), "socks5h://all:1080");
        assert_eq!(
            url(&[all, ("all_proxy", "socks4://lower")]),
            "socks4://lower:1080"
        );
        assert_eq!(
            url(&[all, ("HTTPS_PROXY", "socks5://upper")]),
            "socks5://upper:1080"
        );
        assert_eq!(url(&[all, ("https_proxy", "")]), "socks5h://all:1080");
        assert_eq!(url(&[("http_proxy", "socks5://pages")]), "");
        assert_eq!(url(&[("all_proxy", "")]), "");
        assert_eq!(url(&[]), "");
    }

    #[cfg(all(feature = "http-connect", feature = "tls"))]
    #[tokio::test]
    async fn an_https_proxy_is_reached_by_tls() {
        use std::sync::Arc;

        use tokio::io::AsyncReadExt;
        use tokio_rustls::rustls::{RootCertStore, crypto::ring};

        let (near, mut far) = duplex(4096);
        let near = Arc::new(std::sync::Mutex::new(Some(near)));
        let inner = service_fn(move |request: Request| {
            assert_eq!(request.target.to_string(), "a:443");
            let near = near.lock().unwrap().take();
            async { near.ok_or("once") }
        });
        let proxies = proxies(&[("https_proxy", "https://a")]).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let connector = EnvConnector::new(proxies, inner).with_tls(&config);
        let target = "b:80".parse::<Target>().unwrap();
        let request = Request::new(Session::new(), Command::CONNECT, target);
        let connecting = tokio::spawn(connector.run(request));
        // A record of its handshake.
        assert_eq!(far.read_u8().await.unwrap(), 0x16);
        connecting.abort();
    }

    #[cfg(feature = "http-connect")]
    #[test]
    fn without_a_scheme_it_is_http() {
        let url = proxy(&[("all_proxy", "joe:secret@a:3128")], "example.com:443");
        assert_eq!(url.unwrap(), "http://joe:***@a:3128");
    }

    #[test]
    fn some_are_reached_without() {
        let variables = [("all_proxy", "socks5://a"), ("NO_PROXY", "example.com")];
        assert_eq!(proxy(&variables, "www.example.com:1"), None);
        assert!(proxy(&variables, "example.org:1").is_some());
        let emptied = [variables[0], variables[1], ("no_proxy", "")];
        assert!(proxy(&emptied, "www.example.com:1").is_some());
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_password() {
        let error = proxies(&[("ALL_PROXY", "ftp://joe:secret@a")]).unwrap_err();
        let all = crate::session::Chain(&error).to_string();
        assert!(
            all.starts_with("ALL_PROXY: ftp://joe:***@a: the scheme is none of"),
            "{all}"
        );
    }

    #[tokio::test]
    async fn the_connector_goes_the_way_that_the_environment_says() {
        let inner = service_fn(|request: Request| async move {
            // Neither the proxy nor the target answers.
            let (near, _) = duplex(64);
            Ok::<DuplexStream, Infallible>(near).inspect(|_| {
                assert!(["192.0.2.1:1", "a.b:80"].contains(&&*request.target.to_string()));
            })
        });
        let variables = [("all_proxy", "socks5h://192.0.2.1:1"), ("no_proxy", "b")];
        let connector = EnvConnector::new(proxies(&variables).unwrap(), inner);
        let to = |target: &str| {
            let target = target.parse::<Target>().unwrap();
            connector
                .clone()
                .run(Request::new(Session::new(), Command::CONNECT, target))
        };
        to("a.b:80").await.unwrap();
        let error = to("a.c:80").await.unwrap_err();
        assert_eq!(error.to_string(), "the upstream proxy failed");
    }
}
