//! Clients, well-behaved and others.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// Longer than anything takes here, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for `future`, and fails if it hangs.
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: still waiting after {PATIENCE:?}"),
    }
}

/// A target that sends back what it gets.
pub(crate) async fn echo() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                // Whoever breaks it off is free to.
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    (addr, AbortOnDropHandle::new(serving))
}

pub(crate) async fn connect(proxy: SocketAddr) -> TcpStream {
    patiently("connect", TcpStream::connect(proxy))
        .await
        .unwrap()
}

/// SOCKS5's greeting and request for `target`, at once.
pub(crate) fn request(target: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(target) = target else {
        panic!("{target} is not IPv4")
    };
    let (ip, port) = (target.ip().octets(), target.port().to_be_bytes());
    [b"\x05\x01\x00\x05\x01\x00\x01".as_slice(), &ip, &port].concat()
}

/// Asks for a tunnel to `target`; returns SOCKS5's reply code with it.
pub(crate) async fn ask(proxy: SocketAddr, target: SocketAddr) -> (TcpStream, u8) {
    let mut client = connect(proxy).await;
    client.write_all(&request(target)).await.unwrap();
    let mut reply = [0; 12];
    patiently("the reply", client.read_exact(&mut reply))
        .await
        .unwrap();
    assert_eq!(reply[..3], *b"\x05\x00\x05");
    (client, reply[3])
}

/// A tunnel to an echo at `target`, which works.
pub(crate) async fn tunnel(proxy: SocketAddr, target: SocketAddr) -> TcpStream {
    let (mut client, code) = ask(proxy, target).await;
    assert_eq!(code, 0);
    client.write_all(b"there and back").await.unwrap();
    let mut found = [0; 14];
    patiently("the echo", client.read_exact(&mut found))
        .await
        .unwrap();
    assert_eq!(&found, b"there and back");
    client
}

/// Reads to whatever end.
pub(crate) async fn to_the_end(client: &mut TcpStream) -> Vec<u8> {
    let mut found = Vec::new();
    // It may be a reset.
    let _ = patiently("the end", client.read_to_end(&mut found)).await;
    found
}

/// Closes with a RST.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}
