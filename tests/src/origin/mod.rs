//! Targets: servers on loopback that a proxy is asked to reach.

mod http;

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub use http::serve as serve_http;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use crate::content::Content;

/// 127.0.0.1.
pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// ::1.
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A server that a proxy can be asked to reach. It ends when it is dropped.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Origin {
    /// Sends back what it gets, until the client ends its side.
    pub async fn echo(ip: IpAddr) -> Self {
        Self::serve(ip, |mut stream| async move {
            let (mut from, mut to) = stream.split();
            // The client may reset at any time; that is its affair.
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        })
        .await
    }

    /// Answers every HTTP/1.1 request with `content`.
    pub async fn http(ip: IpAddr, content: Content) -> Self {
        Self::serve(ip, move |stream| http::serve(stream, content)).await
    }

    /// Speaks first: sends `banner` as soon as it is connected to, then echoes.
    pub async fn banner(ip: IpAddr, banner: &'static str) -> Self {
        Self::serve(ip, move |mut stream| async move {
            let (mut from, mut to) = stream.split();
            let _ = to.write_all(banner.as_bytes()).await;
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        })
        .await
    }

    /// Resets the connection at the first byte that it gets.
    pub async fn reset(ip: IpAddr) -> Self {
        Self::serve(ip, |mut stream| async move {
            let _ = stream.read_u8().await;
            stream.set_zero_linger().unwrap();
        })
        .await
    }

    /// Runs `session` on each connection to a free port of `ip`.
    pub async fn serve<F>(ip: IpAddr, session: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(session(stream));
            }
        });
        Self {
            addr,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }
}

/// A port that refuses connections, and that nobody else is given meanwhile.
#[derive(Debug)]
pub struct ClosedPort {
    addr: SocketAddr,
    // Bound, so that the port is taken; never listening, so that it refuses.
    _socket: TcpSocket,
}

impl ClosedPort {
    /// Takes a port of 127.0.0.1. Must be called within a Tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((V4, 0).into()).unwrap();
        Self {
            addr: socket.local_addr().unwrap(),
            _socket: socket,
        }
    }

    /// The address that refuses.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}
