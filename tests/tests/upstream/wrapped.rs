//! A method that wraps the stream and the datagrams, on both sides.

use std::{
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use socks_tests::{
    client::assert_echoes,
    origin::{Origin, V4},
    patiently,
    proxy::Proxy,
};
use socks_tower::{
    Admitted, AuthMethod, AuthenticateLayer, BoxError, BoxStream, ByCommand, ConnectLayer,
    DatagramWrapper, HandshakeLayer, Identity, Judge, Method, NameRules, Negotiation, Permit,
    Relay, ResolveLayer, Rules, Socks5Connector, SystemResolver, UdpAssociate, UpstreamFailure,
    async_trait,
    works::upstream::{Authenticated, ClientMethod, ProxyNegotiation, direct},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tower::{Layer, ServiceBuilder};

use crate::{connect, datagrams::echo};

/// Inverts every byte, and puts one before each datagram, without which it is none.
struct Inverting;

const MARK: u8 = 0x5a;

#[async_trait]
impl AuthMethod for Inverting {
    fn code(&self) -> Method {
        Method(0x80)
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let right = client.read_u8().await? == MARK;
        client.write_all(&[u8::from(!right)]).await?;
        if !right {
            return Err("no".into());
        }
        let joe = Admitted::from(Identity::new("joe"));
        Ok(joe.with_wrap(Inverted).with_datagrams(Self))
    }
}

/// The client's side, with the byte that it is to send.
struct Says(u8);

#[async_trait]
impl ClientMethod for Says {
    fn code(&self) -> Method {
        Method(0x80)
    }

    async fn authenticate(
        &self,
        proxy: &mut ProxyNegotiation<'_>,
    ) -> Result<Authenticated, BoxError> {
        proxy.write_all(&[self.0]).await?;
        match proxy.read_u8().await? {
            0 => Ok(Authenticated::new()
                .with_wrap(Inverted)
                .with_datagrams(Inverting)),
            _ => Err("the proxy refused".into()),
        }
    }
}

fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

impl DatagramWrapper for Inverting {
    fn wrap(&self, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        out.push(MARK);
        out.extend(inverted(datagram));
        true
    }

    fn unwrap(&self, datagram: &mut [u8]) -> Option<Range<usize>> {
        let (mark, data) = datagram.split_first_mut()?;
        data.iter_mut().for_each(|byte| *byte = !*byte);
        (*mark == MARK).then_some(1..datagram.len())
    }
}

struct Inverted(BoxStream);

impl AsyncRead for Inverted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        for byte in &mut buf.filled_mut()[before..] {
            *byte = !*byte;
        }
        read
    }
}

impl AsyncWrite for Inverted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &inverted(buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn proxy() -> Proxy {
    let judge = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .service(Permit::new());
    proxy_with(UdpAssociate::new(judge)).await
}

async fn proxy_with<J: Judge + Sync>(udp: UdpAssociate<J>) -> Proxy {
    let commands = ByCommand::new()
        .connect(ConnectLayer::new(direct()).layer(Relay::new()))
        .udp_associate(udp);
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(Inverting))
        .service(commands);
    Proxy::spawn(stack).await
}

#[tokio::test]
async fn a_client_s_method_wraps_request_reply_and_all_that_follows() {
    let proxy = proxy().await;
    let origin = Origin::echo(V4).await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let connector = connector.with_method(Says(MARK));
    let mut upstream = connect(&connector, origin.addr()).await.unwrap();
    assert!(upstream.io.tcp().is_none(), "it is wrapped");
    assert_echoes(&mut upstream.io, b"through a wrapper").await;
}

#[tokio::test]
async fn a_client_whose_method_fails_is_told_so() {
    let proxy = proxy().await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let connector = connector.with_method(Says(0));
    let error = connector.associate().await.unwrap_err();
    assert_eq!(error.failure(), UpstreamFailure::RefusedUs);
}

#[tokio::test]
async fn datagrams_are_wrapped_on_both_sides() {
    let proxy = proxy().await;
    let (target, _echoing) = echo().await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let socket = connector.with_method(Says(MARK)).associate().await.unwrap();
    for payload in [&b"question"[..], b"", &[7; 9000]] {
        socket.send_to(payload, &target).await.unwrap();
        let mut answer = vec![0; 65_536];
        let received = patiently("an answer", socket.recv_from(&mut answer)).await;
        let (len, from) = received.unwrap();
        assert_eq!((&answer[..len], &from), (payload, &target));
    }
}

#[tokio::test]
async fn datagrams_are_wrapped_by_each_hop_of_a_chain() {
    let inner = proxy().await;
    let hop = |proxy: &Proxy| {
        let connector = Socks5Connector::new(proxy.addr().into(), direct());
        connector.with_method(Says(MARK))
    };
    let rules = NameRules::new(Rules::new().permit_all_special());
    let outer = proxy_with(UdpAssociate::through(rules, hop(&inner))).await;
    let (target, _echoing) = echo().await;
    let socket = hop(&outer).associate().await.unwrap();
    let long = [7; 9000];
    let payloads = [&b"question"[..], b"", &long];
    let many: Vec<_> = payloads.iter().map(|payload| (*payload, &target)).collect();
    assert_eq!(socket.send_many(&many).await.unwrap(), 3);
    let mut came = Vec::new();
    while came.len() < 3 {
        let receiving = socket.recv_many(|payload, from| {
            assert_eq!(from, target);
            came.push(payload.to_vec());
        });
        patiently("answers", receiving).await.unwrap();
    }
    assert!(came == payloads);
}

#[tokio::test]
async fn an_association_over_a_wrapped_stream_that_the_proxy_ends_is_over() {
    let proxy = proxy().await;
    let connector = Socks5Connector::new(proxy.addr().into(), direct());
    let socket = connector.with_method(Says(MARK)).associate().await.unwrap();
    drop(proxy);
    let ended = patiently("the end", socket.recv_from(&mut [0; 64])).await;
    let kind = ended.unwrap_err().kind();
    assert!(matches!(
        kind,
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ));
    // Whoever asks after that hears of it too.
    let ended = patiently("the end", socket.recv_from(&mut [0; 64])).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_proxy_that_does_not_say_where_relays_where_it_is() {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let relay = UdpSocket::bind((V4, 0)).await.unwrap();
    let port = relay.local_addr().unwrap().port();
    let proxy = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        client.read_exact(&mut [0; 4]).await.unwrap();
        client.write_all(&[5, 0x80]).await.unwrap();
        client.read_exact(&mut [0; 1]).await.unwrap();
        let reply = [&b"\x05\x00\x00\x01\0\0\0\0"[..], &port.to_be_bytes()].concat();
        client.write_all(&[0]).await.unwrap();
        client.read_exact(&mut [0; 10]).await.unwrap();
        client.write_all(&inverted(&reply)).await.unwrap();
        client
    });
    let connector = Socks5Connector::new(addr.into(), direct());
    let socket = connector.with_method(Says(MARK)).associate().await.unwrap();
    assert_eq!(socket.relay_addr().unwrap(), relay.local_addr().unwrap());
    drop(proxy.await.unwrap());
}

#[tokio::test]
async fn what_is_not_wrapped_is_dropped_and_not_the_association() {
    let proxy = proxy().await;
    let (target, _echoing) = echo().await;
    let mut control = TcpStream::connect(proxy.addr()).await.unwrap();
    control.write_all(&[5, 1, 0x80, MARK]).await.unwrap();
    let request = inverted(b"\x05\x03\x00\x01\0\0\0\0\0\0");
    control.write_all(&request).await.unwrap();
    let mut heard = [0; 13];
    patiently("a reply", control.read_exact(&mut heard))
        .await
        .unwrap();
    let reply = inverted(&heard[3..]);
    assert_eq!((&heard[..3], &reply[..2]), (&[5, 0x80, 0][..], &[5, 0][..]));
    let relay = (V4, u16::from_be_bytes([reply[8], reply[9]]));

    let socket = UdpSocket::bind((V4, 0)).await.unwrap();
    let header = |payload: &[u8]| {
        let port = target.port.to_be_bytes();
        [b"\0\0\0\x01\x7f\0\0\x01", &port[..], payload].concat()
    };
    let mut wrapped = Vec::new();
    assert!(Inverting.wrap(&header(b"wrapped"), &mut wrapped));
    for datagram in [&header(b"in clear"), &b"?"[..], b"", &wrapped] {
        socket.send_to(datagram, relay).await.unwrap();
    }

    let mut answer = [0; 64];
    let len = patiently("an answer", socket.recv(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer[..len], wrapped, "the answer is wrapped too");
}
