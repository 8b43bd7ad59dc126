use std::{io, net::SocketAddr};

#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicBool;

use socket2::SockRef;
use tokio::net::UdpSocket;

#[cfg(target_os = "linux")]
use super::batch;

/// A socket, and what is known of it that saves work.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) io: UdpSocket,
    pub(super) is_ipv4: bool,
    /// It sends to one address, and receives from no other.
    pub(super) is_connected: bool,
    /// The system cuts up what it is given, and nothing has shown that the
    /// network's device cannot.
    #[cfg(target_os = "linux")]
    pub(super) segments: AtomicBool,
}

impl Socket {
    /// Binds `socket` to `addr`, for addresses of its family alone.
    pub(crate) fn bind(socket: socket2::Socket, addr: SocketAddr) -> io::Result<Self> {
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let io = UdpSocket::from_std(socket.into())?;
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
}
