#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicBool;
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::io::Interest;

#[cfg(target_os = "linux")]
use super::batch;

/// Tokio's own would always be told that there is room, too: on Linux for every datagram
/// that was sent.
#[cfg(target_os = "linux")]
type Io = tokio::io::unix::AsyncFd<std::net::UdpSocket>;
#[cfg(not(target_os = "linux"))]
type Io = tokio::net::UdpSocket;

/// A socket, and what is known of it that saves work.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) io: Io,
    pub(super) is_ipv4: bool,
    /// It sends to one address, and receives from no other.
    pub(super) is_connected: bool,
    /// The system cuts up what it is given, and nothing has shown that the
    /// network's device cannot.
    #[cfg(target_os = "linux")]
    pub(super) segments: AtomicBool,
}

impl Socket {
    /// Binds `socket` to `addr`, for addresses of its family alone. Nobody is to wait for
    /// what is not of `interest`.
    pub(crate) fn bind(
        socket: socket2::Socket,
        addr: SocketAddr,
        interest: Interest,
    ) -> io::Result<Self> {
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        #[cfg(target_os = "linux")]
        #[allow(
            deprecated,
            reason = "what replaces it is unsafe, and this socket is ours"
        )]
        let io = Io::with_interest(socket.into(), interest)?;
        #[cfg(not(target_os = "linux"))]
        let (io, _) = (Io::from_std(socket.into())?, interest);
        Ok(Self {
            is_ipv4: addr.is_ipv4(),
            is_connected: false,
            #[cfg(target_os = "linux")]
            segments: AtomicBool::new(batch::segments_are_served(&io)),
            io,
        })
    }

    /// Has the system keep everybody away but `peer`: then others do not even wake us,
    /// and sending costs less.
    ///
    /// What others have sent before may still be received.
    pub(crate) fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        SockRef::from(&self.io).connect(&peer.into())?;
        self.is_connected = true;
        Ok(())
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether it can send to `addr`.
    pub(crate) fn serves(&self, addr: SocketAddr) -> bool {
        self.is_ipv4 == addr.is_ipv4()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = SockRef::from(&self.io).local_addr()?.as_socket();
        addr.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Ready once something may have come.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(target_os = "linux")]
        return self
            .io
            .poll_read_ready(cx)
            .map_ok(|mut io| io.retain_ready());
        #[cfg(not(target_os = "linux"))]
        self.io.poll_recv_ready(cx)
    }

    /// Reads by `io`, which says whether it would block, if something may have come.
    #[cfg(target_os = "linux")]
    pub(crate) fn try_read<R>(&self, io: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.io.try_io(Interest::READABLE, |_| io())
    }

    /// Waits until `io`, which is of `interest`, does not block.
    pub(crate) async fn async_io<R>(
        &self,
        interest: Interest,
        io: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        #[cfg(target_os = "linux")]
        let io = {
            let mut io = io;
            move |_: &_| io()
        };
        self.io.async_io(interest, io).await
    }

    /// Receives a datagram without waiting.
    #[cfg(any(test, not(target_os = "linux")))]
    pub(crate) fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        #[cfg(target_os = "linux")]
        return self
            .io
            .try_io(Interest::READABLE, |io| io.recv_from(buffer));
        #[cfg(not(target_os = "linux"))]
        self.io.try_recv_from(buffer)
    }

    /// Receives a datagram of a connected socket without waiting.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        return self.io.try_io(Interest::READABLE, |io| io.recv(buffer));
        #[cfg(not(target_os = "linux"))]
        self.io.try_recv(buffer)
    }
}
