use std::{
    mem,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use socks_core::{
    Decode,
    proxy_protocol::{Addresses, Header, HeaderV1, HeaderV2},
};
use tower_service::Service;

use super::ProxyProtocolLayer;
use crate::session::{
    Accepted, Error, ErrorKind, ReceiveError, Session, Stage, StageFuture, Stream, canonical,
    opaque_future, receive, timeout_at,
};

/// Reads the PROXY header of connections from trusted senders, then goes on to
/// `S`. See the [module's page](crate::front::proxy_protocol).
#[derive(Clone, Debug)]
pub struct ProxyProtocol<S> {
    pub(super) config: ProxyProtocolLayer,
    pub(super) inner: S,
}

/// Where a connection came from that was passed on: the other end of its
/// socket, and not the client. In the session's `extensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

opaque_future! {
    /// The future of [`ProxyProtocol`].
    ProxyProtocolFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Accepted<Io>> for ProxyProtocol<S>
where
    Io: Stream,
    S: Stage<Accepted<Io>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ProxyProtocolFuture<S::Future>;

    // Who is not trusted must not pay for those who are: the next stage is
    // readied here, and called at once.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(Error::passed)
    }

    fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
        ProxyProtocolFuture::new(if self.config.trusts(&accepted.session) {
            let own = read_header(self.config.clone(), accepted);
            let next = self.inner.clone();
            StageFuture::new(own, mem::replace(&mut self.inner, next))
        } else {
            StageFuture::next(self.inner.call(accepted))
        })
    }
}

/// A connection over TCP cannot pass datagrams on.
#[derive(Debug, thiserror::Error)]
#[error("a PROXY header speaks of datagrams")]
struct Datagrams;

async fn read_header<Io: Stream>(
    config: ProxyProtocolLayer,
    mut accepted: Accepted<Io>,
) -> Result<Accepted<Io>, Error> {
    let deadline = accepted.deadline(config.timeout);
    let received = receive(&mut accepted.io, &mut accepted.buffered, Header::decode);
    let header = match timeout_at(deadline, received).await {
        Ok(Ok(header)) => header,
        Ok(Err(ReceiveError::Io(error))) => return Err(Error::client(error)),
        Ok(Err(ReceiveError::Invalid(error))) => {
            return Err(Error::new(ErrorKind::Protocol, error));
        }
        Err(elapsed) => return Err(Error::new(ErrorKind::Deadline, elapsed)),
    };
    believe(header, &mut accepted.session)?;
    accepted.session.watch.learn(&accepted.session);
    Ok(accepted)
}

fn believe(header: Header, session: &mut Session) -> Result<(), Error> {
    let client_addr = match &header {
        Header::V1(HeaderV1::Unknown) | Header::V2(HeaderV2::Local) => return Ok(()),
        Header::V1(HeaderV1::Tcp(endpoints)) => Some(endpoints.source()),
        Header::V2(HeaderV2::Proxy { addresses, .. }) => match addresses {
            Addresses::Tcp(endpoints) => Some(endpoints.source()),
            Addresses::Unix => None,
            Addresses::Unspecified => return Ok(()),
            _ => return Err(Error::new(ErrorKind::Protocol, Datagrams)),
        },
    };
    let peer_addr = mem::replace(&mut session.client_addr, client_addr.map(canonical));
    if let Some(peer_addr) = peer_addr {
        session.extensions.insert(PeerAddr(peer_addr));
    }
    session.extensions.insert(Arc::new(header));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socks_core::{
        Encode,
        proxy_protocol::{Endpoints, Tlvs},
    };
    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };
    use tokio_test::io::Mock;
    use tower::ServiceBuilder;
    use tower_layer::Layer;

    use super::*;
    use crate::{
        stages::{
            authenticate::{AuthenticateLayer, NoAuth},
            handshake::HandshakeLayer,
        },
        test_support::{CONNECT, HELLO, Stop, accepted, script},
    };

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080\r\n";

    fn balancer() -> SocketAddr {
        "10.0.0.1:40000".parse().unwrap()
    }

    fn client() -> SocketAddr {
        "192.0.2.7:50123".parse().unwrap()
    }

    fn v2() -> Vec<u8> {
        Header::v2(Endpoints::new(
            client(),
            "198.51.100.1:1080".parse().unwrap(),
        ))
        .to_bytes()
    }

    fn trusting() -> ProxyProtocolLayer {
        let other = "2001:db8::/32".parse().unwrap();
        ProxyProtocolLayer::new()
            .with_trusted(other)
            .with_trusted("10.0.0.0/30".parse().unwrap())
    }

    fn from<Io>(peer: SocketAddr, io: Io) -> Accepted<Io> {
        let mut accepted = accepted(io);
        accepted.session = Session::new().with_client_addr(peer);
        accepted
    }

    async fn receive(io: Mock) -> Result<Accepted<Mock>, Error> {
        let mut stack = trusting().layer(Stop);
        stack.call(from(balancer(), io)).await
    }

    #[tokio::test]
    async fn a_trusted_sender_names_the_client() {
        for header in [LINE.to_vec(), v2()] {
            let io = script().read(&header).build();

            let accepted = receive(io).await.unwrap();

            let session = &accepted.session;
            assert_eq!(session.client_addr, Some(client()));
            assert_eq!(
                session.extensions.get::<PeerAddr>(),
                Some(&PeerAddr(balancer()))
            );
            let header = session.extensions.get::<Arc<Header>>().unwrap();
            let destination = header.endpoints().unwrap().destination();
            assert_eq!(destination.port(), 1080);
            assert!(accepted.buffered.is_empty());
        }
    }

    #[tokio::test]
    async fn a_header_may_come_byte_by_byte_and_be_followed() {
        for header in [LINE.to_vec(), v2()] {
            let mut io = script();
            for byte in &header[..header.len() - 1] {
                io.read(&[*byte]);
            }
            io.read(&[&header[header.len() - 1..], HELLO].concat());

            let accepted = receive(io.build()).await.unwrap();

            assert_eq!(accepted.session.client_addr, Some(client()));
            assert_eq!(accepted.buffered, HELLO);
        }
    }

    #[tokio::test]
    async fn bytes_that_a_layer_read_before_come_first() {
        let (front, back) = LINE.split_at(9);
        let mut accepted = from(balancer(), script().read(back).build());
        accepted.buffered = front.to_vec();

        let accepted = trusting().layer(Stop).call(accepted).await.unwrap();

        assert_eq!(accepted.session.client_addr, Some(client()));
    }

    #[tokio::test]
    async fn extensions_of_the_header_are_handed_on() {
        let tlvs = Tlvs::new().with(Tlvs::AUTHORITY, b"example.com").unwrap();
        let endpoints = Endpoints::new(client(), client());
        let header = HeaderV2::Proxy {
            addresses: Addresses::Tcp(endpoints),
            tlvs,
        };
        let io = script().read(&header.to_bytes()).build();

        let accepted = receive(io).await.unwrap();

        let header = accepted.session.extensions.get::<Arc<Header>>().unwrap();
        let Header::V2(HeaderV2::Proxy { tlvs, .. }) = &**header else {
            panic!("{header:?}")
        };
        assert_eq!(tlvs.get(Tlvs::AUTHORITY), Some(&b"example.com"[..]));
    }

    #[tokio::test]
    async fn a_mapped_address_is_undone() {
        let line = b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 50123 1080\r\n";
        let accepted = receive(script().read(line).build()).await.unwrap();
        assert_eq!(accepted.session.client_addr, Some(client()));
    }

    #[tokio::test]
    async fn a_health_check_keeps_the_socket_s_addresses() {
        let unspecified = HeaderV2::Proxy {
            addresses: Addresses::Unspecified,
            tlvs: Tlvs::new(),
        };
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            HeaderV2::Local.to_bytes(),
            unspecified.to_bytes(),
        ] {
            let accepted = receive(script().read(&header).build()).await.unwrap();

            assert_eq!(accepted.session.client_addr, Some(balancer()));
            assert!(accepted.session.extensions.is_empty());
        }
    }

    #[tokio::test]
    async fn a_client_on_the_sender_s_own_machine_has_no_address() {
        let header = HeaderV2::Proxy {
            addresses: Addresses::Unix,
            tlvs: Tlvs::new(),
        };
        let io = script().read(&header.to_bytes()).build();

        let accepted = receive(io).await.unwrap();

        assert_eq!(accepted.session.client_addr, None);
        assert_eq!(
            accepted.session.extensions.get::<PeerAddr>(),
            Some(&PeerAddr(balancer()))
        );
    }

    #[tokio::test]
    async fn a_trusted_sender_without_a_header_is_closed() {
        let udp = HeaderV2::Proxy {
            addresses: Addresses::Udp(Endpoints::new(client(), client())),
            tlvs: Tlvs::new(),
        };
        for wrong in [
            HELLO.to_vec(),
            b"\x04\x01".to_vec(),
            b"CONNECT a:1 HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 050123 1080\r\n".to_vec(),
            udp.to_bytes(),
        ] {
            let error = receive(script().read(&wrong).build()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        let gone = receive(script().read(b"PROXY ").build()).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::ClientGone);
    }

    /// A proxy behind the layer, up to the request.
    async fn negotiate(peer: SocketAddr, io: Mock) -> Result<Option<SocketAddr>, Error> {
        let mut stack = ServiceBuilder::new()
            .layer(trusting())
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .service(Stop);
        let requested = stack.call(from(peer, io)).await?;
        Ok(requested.request.session.client_addr)
    }

    #[tokio::test]
    async fn each_version_of_socks_goes_on_behind_the_header() {
        let socks5 = script()
            .read(&[LINE, HELLO].concat())
            .write(b"\x05\x00")
            .read(CONNECT)
            .build();
        assert_eq!(negotiate(balancer(), socks5).await.unwrap(), Some(client()));

        let socks4 = script()
            .read(&[LINE, b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00"].concat())
            .build();
        assert_eq!(negotiate(balancer(), socks4).await.unwrap(), Some(client()));
    }

    #[tokio::test]
    async fn from_anyone_else_a_header_is_garbage_and_socks_is_plain() {
        for peer in ["10.0.0.4:1", "192.0.2.7:1", "[2001:db9::1]:1"] {
            let peer = peer.parse().unwrap();
            let plain = script()
                .read(HELLO)
                .write(b"\x05\x00")
                .read(CONNECT)
                .build();
            assert_eq!(negotiate(peer, plain).await.unwrap(), Some(peer));

            let forged = script().read(&v2()).build();
            let error = negotiate(peer, forged).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        // A Unix socket has no address to trust.
        let mut stack = trusting().layer(Stop);
        let accepted = stack.call(accepted(script().build())).await.unwrap();
        assert!(accepted.session.extensions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_header_ends_at_the_deadline_which_counts_from_accept() {
        for timeout in [2, 4] {
            let (mut sender, io) = duplex(64);
            sender.write_all(b"PROXY TCP4 ").await.unwrap();
            let layer = trusting().with_timeout(Duration::from_secs(timeout));
            let accepted = from(balancer(), io);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let began = Instant::now();

            let error = layer.layer(Stop).call(accepted).await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Deadline);
            assert_eq!(began.elapsed(), Duration::from_secs(timeout - 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn its_time_counts_in_the_handshake_s_deadline() {
        let (mut sender, io) = duplex(64);
        let sending = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            sender.write_all(LINE).await.unwrap();
            std::future::pending::<()>().await;
        };
        let accepted = from(balancer(), io);
        let began = Instant::now();
        let mut stack = trusting().layer(HandshakeLayer::new().layer(Stop));

        let result = tokio::select! {
            result = stack.call(accepted) => result,
            () = sending => unreachable!(),
        };

        assert_eq!(result.unwrap_err().kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), HandshakeLayer::DEFAULT_TIMEOUT);
    }
}
