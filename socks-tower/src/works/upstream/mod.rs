//! Through another proxy: SOCKS5, SOCKS4, SOCKS4a or HTTP CONNECT.
//!
//! Each is a connector around another one, `C`, which reaches the proxy: one over
//! TCP ([`direct`]), or again one of these. So a chain of proxies is nesting, of any
//! length and any mixture, and each hop is looked up by the one before it.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthorizeLayer, Credentials, NameRules, Rules,
//!     works::upstream::{Socks4Connector, Socks5Connector, direct},
//! };
//! use tower::ServiceBuilder;
//!
//! let first = Socks5Connector::new("192.0.2.1:1080".parse()?, direct())
//!     .with_credentials(Credentials::new("joe", "secret")?);
//! let chain = Socks4Connector::new("second.example:1080".parse()?, first);
//!
//! // What clients ask for is judged; the way to the proxies is the operator's own.
//! let connector = ServiceBuilder::new()
//!     .layer(AuthorizeLayer::new(NameRules::new(Rules::new())))
//!     .service(chain);
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(connector);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From a URL, whatever kind of proxy it names: [`ProxyConnector`]. As the environment
//! says: [`EnvConnector`]. On a stream that is there already: [`connect`].
//!
//! # Several proxies, and none
//!
//! `UpstreamPool` (feature `upstream-pool`) makes one connector of many proxies,
//! `Routes` (feature `routes`) choose one of several connectors by what is asked for.
//!
//! # Besides CONNECT
//!
//! By SOCKS5, [`Socks5Connector::associate`] gives a socket whose datagrams the proxy
//! relays; by SOCKS5 and SOCKS4, `bind` has it listen
//! ([`UpstreamBind`]).
//!
//! A server's clients go through by [`UdpAssociate::through`](crate::UdpAssociate::through)
//! and [`BindLayer::through`](crate::BindLayer::through), which ask a connector with
//! those commands. It answers with the connection to the proxy, of which
//! [`Outbound::bound`](crate::Outbound::bound) says where the proxy listens or relays.
//!
//! # For hyper
//!
//! With the feature `hyper`, each is a `Service<Uri>` too, as the clients of
//! hyper-util and tonic take it:
#![cfg_attr(
    feature = "hyper",
    doc = r#"
```
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use socks_tower::{Socks5Connector, works::upstream::direct};

let proxy = "192.0.2.1:1080".parse()?;
let connector = Socks5Connector::new(proxy, direct());
let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector);
# Ok::<(), socks_tower::ParseTargetError>(())
```
"#
)]
//! TLS to the target is the client's affair: a connector for `https://` stands around
//! ours as it would around hyper-util's own.
//!
//! reqwest has no room for a connector of others: what its `connector_layer` is given
//! answers with a stream that reqwest alone can make. It takes proxies, and a stack of
//! ours in the same process is one, whatever connector it has: see
//! [the guide](crate::guide::through_another_proxy#under-a-client).
//!
//! # A proxy that wants TLS
//!
//! `TlsConnector`, with the feature `tls`, in the place of `C`; or a URL of `https://`
//! and `ProxyConnector::with_tls`.
//!
//! # Who looks names up
//!
//! The last proxy of a chain: it is handed the name. With
//! [`ResolveLayer`] around the connector, it is handed the
//! addresses that rules between the two let through, one after the other.
//! [`Rules`](crate::Rules) judge addresses, [`NameRules`](crate::NameRules) what is
//! known of a name.
//!
//! # What is read
//!
//! The proxy's answer, and not a byte behind it. Nothing has to be wrapped, so the
//! stream is what `C` gave: a chain over plain TCP is spliced as a direct tunnel is,
//! and BND.ADDR is the address that this machine has towards the first proxy.
//!
//! # Replies
//!
//! A client hears what the proxy said of the target, in its own protocol. Nothing
//! that is wrong with the proxy reads as if it were the target's:
//!
//! | what failed | reply |
//! |---|---|
//! | the proxy cannot be dialled, does not let us in, breaks the protocol | 01 |
//! | it took the request, and did not answer by the deadline | 06 |
//! | SOCKS5: it says 01 to 08, or Tor's F0 to F7 | the same; any other code is 01 |
//! | SOCKS4: it says 91, 92 or 93 | 01 |
//! | HTTP: it says 403 | 02 |
//! | … 404, 502, 503 | 04 |
//! | … 504 | 06 |
//! | … any other status | 01 |
//! | an IPv6 address, for SOCKS4 | 08 |
//! | UDP ASSOCIATE for SOCKS4 or HTTP, BIND for HTTP, any other command | 07 |
//!
//! [`UpstreamError`] tells them apart.

mod bind;
mod commands;
mod connecting;
mod env;
mod error;
#[cfg(any(feature = "gssapi", docsrs, test))]
mod gssapi;
mod handshake;
mod hop;
#[cfg(feature = "http-connect")]
mod http;
mod method;
mod no_proxy;
mod proxy;
mod socks4;
mod socks5;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod told;
mod udp;
#[cfg(feature = "hyper")]
pub(crate) mod uri;
mod url;

pub use bind::UpstreamBind;
pub(crate) use bind::accept;
pub use connecting::UpstreamFuture;
pub use env::{EnvConnector, EnvConnectorFuture, EnvError, EnvProxies};
pub use error::{UpstreamError, UpstreamFailure};
#[cfg(any(feature = "gssapi", docsrs, test))]
#[cfg_attr(docsrs, doc(cfg(feature = "gssapi")))]
pub use gssapi::GssApiClient;
pub use handshake::connect;
#[cfg(feature = "http-connect")]
pub use http::HttpConnector;
pub use method::{Authenticated, ClientMethod, ProxyNegotiation};
pub use proxy::{ProxyConnector, ProxyConnectorFuture};
pub use socks_core::client::Offer;
pub use socks4::Socks4Connector;
pub use socks5::{Boxed, Socks5Connector};
#[cfg(feature = "tls")]
pub use tls::{TlsConnector, TlsConnectorFuture};
pub use told::{Told, ToldFuture};
use tower_layer::Layer;
pub(crate) use udp::Relay;
pub use udp::UpstreamUdp;
#[cfg(feature = "hyper")]
pub use uri::{HyperStream, UriFuture};
pub use url::{ParseProxyUrlError, ProxyUrl};

use crate::works::{
    resolve::{Resolve, ResolveLayer, SystemResolver},
    tcp::TcpConnector,
};

/// Over TCP, with names looked up by the system: how the first proxy is reached.
///
/// There are no rules in it: whoever configures a proxy may mean one on this host
/// or its networks.
#[must_use]
pub fn direct() -> Resolve<SystemResolver, TcpConnector> {
    ResolveLayer::new(SystemResolver::new()).layer(TcpConnector::new())
}
