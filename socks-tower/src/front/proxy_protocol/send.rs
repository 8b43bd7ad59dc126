//! Headers to upstreams.

use std::net::{Ipv4Addr, SocketAddr};

use socks_core::{
    Encode, Host, Target,
    proxy_protocol::{Addresses, Endpoints, Header, HeaderV1, HeaderV2, Tlvs},
};
use tokio::io::AsyncWriteExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::session::{
    BoxError, BoxWork, Connector, IntoOutbound, Outbound, Pinned, Request, Session, always_ready,
    opaque_future, tcp,
};

/// Begins each stream of a connector with a PROXY header that names the
/// session's client and target.
///
/// It stands around the connector, of `Request<Target>` or `Request<Pinned>`;
/// a time limit goes around it, so as to cover both.
///
/// The header tells the target where the client is: put it around connectors
/// to servers of your own, that await one.
///
/// ```
/// use socks_tower::{TcpConnector, front::proxy_protocol::SendProxyHeaderLayer};
/// # use socks_tower::{Pinned, Request};
/// use tower::ServiceBuilder;
///
/// let connector = ServiceBuilder::new()
///     .layer(SendProxyHeaderLayer::v2())
///     .service(TcpConnector::new());
/// # fn check(_: impl socks_tower::Connector<Request<Pinned>>) {}
/// # check(connector);
/// ```
///
/// The source is the session's `client_addr`; without one the header says
/// `UNKNOWN`, or in version 2 unspecified. The destination is the target, if
/// that is an address; else the other end of the stream, if that is a plain
/// socket; else unspecified. Version 2 carries a target's name as well.
#[derive(Clone, Copy, Debug)]
pub struct SendProxyHeaderLayer {
    version: HeaderVersion,
}

#[derive(Clone, Copy, Debug)]
enum HeaderVersion {
    V1,
    V2,
}

impl SendProxyHeaderLayer {
    /// Sends version 1, a line of text.
    #[must_use]
    pub fn v1() -> Self {
        Self {
            version: HeaderVersion::V1,
        }
    }

    /// Sends version 2, which is binary.
    #[must_use]
    pub fn v2() -> Self {
        Self {
            version: HeaderVersion::V2,
        }
    }
}

impl<C> Layer<C> for SendProxyHeaderLayer {
    type Service = SendProxyHeader<C>;

    fn layer(&self, inner: C) -> SendProxyHeader<C> {
        SendProxyHeader {
            version: self.version,
            inner,
        }
    }
}

/// Connects by `C`, and begins with a PROXY header. See
/// [`SendProxyHeaderLayer`].
#[derive(Clone, Copy, Debug)]
pub struct SendProxyHeader<C> {
    version: HeaderVersion,
    inner: C,
}

opaque_future! {
    /// The future of [`SendProxyHeader`].
    SendProxyHeaderFuture<Io> -> Result<Outbound<Io>, BoxError> = BoxWork<Outbound<Io>>
}

impl<C: Connector<Request>> Service<Request> for SendProxyHeader<C> {
    type Response = Outbound<C::Io>;
    type Error = BoxError;
    type Future = SendProxyHeaderFuture<C::Io>;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { version, inner } = self.clone();
        SendProxyHeaderFuture::new(Box::pin(async move {
            let target = request.target.clone();
            let session = request.session.clone();
            let mut upstream = inner.run(request).await?.into_outbound();
            let named = target.socket_addr().or(peer(&upstream));
            introduce(&mut upstream, version, &session, &target, named).await?;
            Ok(upstream)
        }))
    }
}

impl<C: Connector<Request<Pinned>>> Service<Request<Pinned>> for SendProxyHeader<C> {
    type Response = Outbound<C::Io>;
    type Error = BoxError;
    type Future = SendProxyHeaderFuture<C::Io>;

    always_ready!();

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        let Self { version, inner } = self.clone();
        SendProxyHeaderFuture::new(Box::pin(async move {
            let pinned = request.target.clone();
            let session = request.session.clone();
            let mut upstream = inner.run(request).await?.into_outbound();
            let target = pinned.target();
            let only = match pinned.addrs() {
                [addr] => Some(*addr),
                _ => None,
            };
            let named = target.socket_addr().or(only).or(peer(&upstream));
            introduce(&mut upstream, version, &session, target, named).await?;
            Ok(upstream)
        }))
    }
}

/// Which of a name's addresses it was.
fn peer<Io: crate::session::Stream>(upstream: &Outbound<Io>) -> Option<SocketAddr> {
    tcp(&upstream.io)?.peer_addr().ok()
}

async fn introduce<Io: crate::session::Stream>(
    upstream: &mut Outbound<Io>,
    version: HeaderVersion,
    session: &Session,
    target: &Target,
    named: Option<SocketAddr>,
) -> Result<(), BoxError> {
    let header = header(version, session, target, named).to_bytes();
    upstream.io.write_all(&header).await?;
    upstream.io.flush().await?;
    Ok(())
}

fn header(
    version: HeaderVersion,
    session: &Session,
    target: &Target,
    named: Option<SocketAddr>,
) -> Header {
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), target.port);
    let destination = named.unwrap_or(nowhere);
    let endpoints = session
        .client_addr
        .map(|source| Endpoints::new(source, destination));
    match version {
        HeaderVersion::V1 => Header::V1(endpoints.map_or(HeaderV1::Unknown, HeaderV1::Tcp)),
        HeaderVersion::V2 => {
            let name = match &target.host {
                Host::Name(name) => {
                    let name = name.as_str().as_bytes();
                    Tlvs::new().with(Tlvs::AUTHORITY, name).ok()
                }
                Host::Ip(_) => None,
            };
            Header::V2(HeaderV2::Proxy {
                addresses: endpoints.map_or(Addresses::Unspecified, Addresses::Tcp),
                tlvs: name.unwrap_or_default(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use socks_core::v5::Command;
    use tokio_test::io::{Builder, Mock};
    use tower::service_fn;

    use super::*;
    use crate::session::Work;

    fn session(client: Option<&str>) -> Session {
        match client {
            Some(addr) => Session::new().with_client_addr(addr.parse().unwrap()),
            None => Session::new(),
        }
    }

    /// Gives a stream that must be written just `expected`, and then reads.
    fn expecting<T: Send + 'static>(expected: Vec<u8>) -> impl Connector<Request<T>, Io = Mock> {
        service_fn(move |_: Request<T>| {
            let io = Builder::new().write(&expected).read(b"banner").build();
            let local = "192.0.2.1:7".parse().unwrap();
            async move { Ok::<_, Infallible>(Outbound::new(io).with_local_addr(local)) }
        })
    }

    async fn sends(layer: SendProxyHeaderLayer, client: Option<&str>, target: &str, bytes: &[u8]) {
        use tokio::io::AsyncReadExt;

        let connector = layer.layer(expecting(bytes.to_vec()));
        let target = target.parse::<Target>().unwrap();
        let request = Request::new(session(client), Command::CONNECT, target);
        let mut upstream = connector.run(request).await.unwrap();

        assert_eq!(upstream.local_addr, Some("192.0.2.1:7".parse().unwrap()));
        let mut banner = [0; 6];
        upstream.io.read_exact(&mut banner).await.unwrap();
        assert_eq!(&banner, b"banner");
    }

    const CLIENT: Option<&str> = Some("192.0.2.7:50123");

    #[tokio::test]
    async fn a_line_names_client_and_target() {
        let v1 = SendProxyHeaderLayer::v1;
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 80\r\n";
        sends(v1(), CLIENT, "198.51.100.1:80", line).await;
        let line = b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 50123 80\r\n";
        sends(v1(), CLIENT, "[2001:db8::1]:80", line).await;
        let line = b"PROXY TCP4 192.0.2.7 0.0.0.0 50123 80\r\n";
        sends(v1(), CLIENT, "example.com:80", line).await;
        sends(v1(), None, "198.51.100.1:80", b"PROXY UNKNOWN\r\n").await;
    }

    #[tokio::test]
    async fn a_binary_header_carries_the_name_too() {
        let v2 = SendProxyHeaderLayer::v2;
        let front = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
        let body = b"\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\xcb\x00\x50";
        let header = [&front[..], body].concat();
        sends(v2(), CLIENT, "198.51.100.1:80", &header).await;
        let body = b"\x11\x00\x12\xc0\x00\x02\x07\x00\x00\x00\x00\xc3\xcb\x00\x50\x02\x00\x03a.b";
        let header = [&front[..], body].concat();
        sends(v2(), CLIENT, "a.b:80", &header).await;
        let header = [&front[..], b"\x00\x00\x06\x02\x00\x03a.b"].concat();
        sends(v2(), None, "a.b:80", &header).await;
    }

    #[tokio::test]
    async fn a_pinned_name_is_named_by_its_address() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 80\r\n".to_vec();
        let connector = SendProxyHeaderLayer::v1().layer(expecting(line));
        let target = "example.com:80".parse().unwrap();
        let pinned = Pinned::new(target, ["198.51.100.1:80".parse().unwrap()]);
        let request = Request::new(session(CLIENT), Command::CONNECT, pinned);

        let mut upstream = connector.run(request).await.unwrap();

        let mut banner = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut upstream.io, &mut banner)
            .await
            .unwrap();
        assert_eq!(banner, "banner");
    }

    fn refusing() -> SendProxyHeader<impl Connector<Request, Io = Mock>> {
        let broken = service_fn(|_: Request| async {
            let error = io::Error::from(io::ErrorKind::BrokenPipe);
            Ok::<_, Infallible>(Builder::new().write_error(error).build())
        });
        SendProxyHeaderLayer::v1().layer(broken)
    }

    #[tokio::test]
    async fn a_target_that_does_not_take_it_is_a_failed_dial() {
        let target = "192.0.2.1:80".parse().unwrap();
        let request = Request::new(session(CLIENT), Command::CONNECT, target);

        let error = refusing().run(request).await.unwrap_err();

        let error = error.downcast::<io::Error>().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn its_client_hears_01_or_91() {
        use tokio::io::{AsyncReadExt, duplex};
        use tower::ServiceExt;

        use socks_core::server::Version;

        use crate::{
            session::{ErrorKind, Inbound, Requested},
            stages::connect::ConnectLayer,
            test_support::MustNotBeCalled,
        };

        for (version, expected) in [(Version::Socks5, [5, 1]), (Version::Socks4, [0, 91])] {
            let (mut near, io) = duplex(64);
            let target = "192.0.2.1:80".parse().unwrap();
            let requested = Requested {
                client: Inbound::new(io, Vec::new(), version),
                request: Request::new(session(CLIENT), Command::CONNECT, target),
            };
            let stage = ConnectLayer::new(refusing()).layer(MustNotBeCalled);
            let hearing = async {
                let mut reply = [0; 2];
                near.read_exact(&mut reply).await.unwrap();
                drop(near);
                reply
            };
            let (result, reply) = tokio::join!(stage.oneshot(requested), hearing);
            assert_eq!(reply, expected);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Connect);
        }
    }
}
