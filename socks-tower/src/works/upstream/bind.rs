use std::fmt;

use socks_core::{Target, v5::Command};

use super::{UpstreamError, UpstreamFailure, handshake::Talk, hop::Hop};
use crate::session::{Bound, Connector, Outbound, Request, Stream};

/// A proxy that listens on our behalf: BIND, in two steps.
///
/// ```
/// use socks_tower::{Socks5Connector, Target, works::upstream::direct};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let connector = Socks5Connector::new("192.0.2.1:1080".parse()?, direct());
/// let listening = connector.bind(Target::UNSPECIFIED).await?;
/// println!("tell the peer to connect to {}", listening.addr());
/// let (upstream, peer) = listening.accept().await?;
/// println!("{peer} has come");
/// # drop(upstream);
/// # Ok(())
/// # }
/// ```
pub struct UpstreamBind<Io> {
    upstream: Outbound<Io>,
    addr: Target,
}

impl<Io: Stream> UpstreamBind<Io> {
    pub(super) async fn ask<C>(hop: Hop<C>, peer: Target) -> Result<Self, UpstreamError>
    where
        C: Connector<Request, Io = Io>,
    {
        let upstream = hop.ask(Command::BIND, peer).await?;
        let addr = upstream.bound().cloned().unwrap_or(Target::UNSPECIFIED);
        Ok(Self { upstream, addr })
    }

    /// Where the proxy listens: what the peer is to be told.
    #[must_use]
    pub fn addr(&self) -> &Target {
        &self.addr
    }

    /// Waits until the peer has come: its stream, and where it comes from.
    ///
    /// There is no deadline here; proxies have theirs.
    ///
    /// # Errors
    ///
    /// If the proxy says that nobody has come, or that the wrong one has.
    pub async fn accept(mut self) -> Result<(Outbound<Io>, Target), UpstreamError> {
        let peer = accept(&mut self.upstream).await?;
        Ok((self.upstream, peer))
    }
}

/// Waits for the second answer to BIND, from where on `upstream` is a tunnel.
pub(crate) async fn accept<Io: Stream>(
    upstream: &mut Outbound<Io>,
) -> Result<Target, UpstreamError> {
    let Some(bound) = upstream.bound.take() else {
        let why = "it was not asked to listen";
        return Err(UpstreamError::new(UpstreamFailure::Unsupported, why));
    };
    let Bound { proxy, client, .. } = *bound;
    let mut talk = Talk::new(client);
    let accepted = talk.answer(&mut upstream.io).await;
    accepted.map_err(|error| error.of(proxy))
}

impl<Io> fmt::Debug for UpstreamBind<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBind")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::io::AsyncReadExt;
    use tokio_test::io::{Builder, Mock};
    use tower::service_fn;

    use super::*;
    use crate::works::upstream::{ProxyConnector, Socks5Connector};

    const ASKED: &[u8] = b"\x05\x02\x00\x01\xc0\x00\x02\x07\x00\x15";
    const LISTENS: &[u8] = b"\x05\x00\x00\x01\xc6\x33\x64\x01\x04\x38";

    fn connector(second: &'static [u8]) -> Socks5Connector<impl Connector<Request, Io = Mock>> {
        let inner = service_fn(move |_: Request| {
            let mut script = Builder::new();
            script.write(b"\x05\x01\x00").read(b"\x05\x00");
            script.write(ASKED).read(LISTENS).read(second);
            let io = script.build();
            async move { Ok::<_, Infallible>(io) }
        });
        Socks5Connector::new("proxy.example:1080".parse().unwrap(), inner)
    }

    #[tokio::test]
    async fn a_proxy_says_where_it_listens_and_then_who_has_come() {
        let come = b"\x05\x00\x00\x01\xc0\x00\x02\x07\xc3\x50hello";
        let peer = "192.0.2.7:21".parse().unwrap();
        let listening = connector(come).bind(peer).await.unwrap();
        assert_eq!(listening.addr().to_string(), "198.51.100.1:1080");
        let (mut upstream, peer) = listening.accept().await.unwrap();
        assert_eq!(peer.to_string(), "192.0.2.7:50000");
        let mut rest = String::new();
        upstream.io.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
    }

    #[tokio::test]
    async fn a_peer_that_never_comes_is_an_error() {
        let peer = "192.0.2.7:21".parse().unwrap();
        let listening = connector(b"\x05\x06\x00\x01").bind(peer).await.unwrap();
        let error = listening.accept().await.unwrap_err();
        assert_eq!(error.failure(), UpstreamFailure::RefusedTarget);
    }

    #[tokio::test]
    async fn what_a_protocol_has_no_words_for_is_not_asked() {
        let connector = |url: &str| {
            let inner = service_fn(|_: Request| async {
                Err::<Mock, _>(std::io::Error::other("it must not be dialled"))
            });
            ProxyConnector::new(url.parse().unwrap(), inner)
        };
        let socks4 = connector("socks4a://proxy.example").associate().await;
        let mut errors = vec![socks4.unwrap_err()];
        if cfg!(feature = "http-connect") {
            let http = connector("http://proxy.example");
            errors.push(http.associate().await.unwrap_err());
            errors.push(http.bind(Target::UNSPECIFIED).await.unwrap_err());
        }
        for error in errors {
            assert_eq!(error.failure(), UpstreamFailure::Unsupported);
            assert_eq!(error.code(), Some(crate::ReplyCode::COMMAND_NOT_SUPPORTED));
        }
    }

    #[tokio::test]
    async fn socks4_s_answers_are_understood_and_an_unspecified_address_is_the_proxy_s() {
        let inner = service_fn(|_: Request| async {
            let mut script = Builder::new();
            script.write(b"\x04\x02\x00\x15\xc0\x00\x02\x07\x00");
            script.read(b"\x00\x5a\x04\x38\x00\x00\x00\x00");
            script.read(b"\x00\x5a\xc3\x50\xc0\x00\x02\x07hello");
            Ok::<_, Infallible>(script.build())
        });
        let proxy = "198.51.100.1:1080".parse().unwrap();
        let connector = crate::works::upstream::Socks4Connector::new(proxy, inner);
        let peer = "192.0.2.7:21".parse().unwrap();
        let listening = connector.bind(peer).await.unwrap();
        assert_eq!(listening.addr().to_string(), "198.51.100.1:1080");
        let (mut upstream, peer) = listening.accept().await.unwrap();
        assert_eq!(peer.to_string(), "192.0.2.7:50000");
        let mut rest = String::new();
        upstream.io.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
    }
}
