//! Routes and pools over several kinds of stream: what is plain TCP is spliced. By
//! itself, for it counts the pipes of its process.

#![cfg(all(target_os = "linux", feature = "splice"))]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "pairs are made elsewhere")]
mod pipes;

use std::{convert::Infallible, net::SocketAddr};

use pipes::pipe_ends;
use socks_tower::{
    AuthenticateLayer, ConnectLayer, DialError, HandshakeLayer, Match, NoAuth, Relay, Request,
    Routes, Server, UpstreamPool,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};
use tower::{ServiceBuilder, service_fn};

const LEN: usize = 8_000_000;

fn sent() -> Vec<u8> {
    (0..=250).cycle().take(LEN).collect()
}

/// A target in memory.
async fn in_memory(_: Request) -> Result<DuplexStream, Infallible> {
    let (near, mut far) = duplex(1 << 16);
    tokio::spawn(async move { far.write_all(&sent()).await.unwrap() });
    Ok(near)
}

/// Fetches all from port `port`; says where the proxy said that it is bound to.
async fn fetch(proxy: SocketAddr, port: u8) -> SocketAddr {
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let hello = [
        b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x00",
        &[port][..],
    ]
    .concat();
    client.write_all(&hello).await.unwrap();
    let mut reply = [0; 12];
    client.read_exact(&mut reply).await.unwrap();
    let [5, 0, 5, 0, 0, 1, a, b, c, d, high, low] = reply else {
        panic!("{reply:?}");
    };
    let mut received = Vec::with_capacity(LEN);
    client.read_to_end(&mut received).await.unwrap();
    assert!(received == sent(), "{} bytes differ", received.len());
    ([a, b, c, d], u16::from_be_bytes([high, low])).into()
}

#[tokio::test]
async fn plain_tcp_is_spliced_beside_a_route_that_is_not() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = target.local_addr().unwrap();
    let dial = service_fn(move |_: Request| async move {
        TcpStream::connect(addr).await.map_err(DialError::from)
    });
    let pool = UpstreamPool::new()
        .with_upstream("one", dial)
        .with_upstream("other", dial);
    let routes = Routes::new(service_fn(in_memory)).to(Match::any().port(2), pool);
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(routes))
        .service(Relay::new());
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let proxy_addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    let before = pipe_ends();

    let bound = fetch(proxy_addr, 1).await;
    assert!(bound.ip().is_unspecified());
    assert_eq!(
        pipe_ends(),
        before,
        "a stream in memory has no use for pipes"
    );

    let serving = async {
        let (mut stream, from) = target.accept().await.unwrap();
        stream.write_all(&sent()).await.unwrap();
        from
    };
    let (bound, from) = tokio::join!(fetch(proxy_addr, 2), serving);
    assert_eq!(bound, from);
    assert!(pipe_ends() > before, "no pipe was used");
}
