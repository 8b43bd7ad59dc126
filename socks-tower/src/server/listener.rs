use std::{future::Future, io};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use crate::session::{Accepted, Session, Stream};

/// Where connections come from: TCP, a Unix socket, memory.
///
/// [`Server`](super::Server) takes any;
/// [`TcpAcceptor::listen`](super::TcpAcceptor::listen) makes the one for TCP that
/// costs least. On a TCP socket that comes from elsewhere, set `SO_OOBINLINE`, as
/// both do, or the relay loses urgent bytes.
pub trait Listener: Send + 'static {
    /// The stream of a connection.
    type Io: Stream;

    /// Waits for the next connection.
    ///
    /// It must be safe to drop the future and to call again: no connection may
    /// be lost by that.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`. The server goes on after all of the system's, at
    /// once or after a wait, but for EBADF, EINVAL and ENOTSOCK; and ends by
    /// those that have no number of the system's and the kind
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe),
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof),
    /// [`NotConnected`](io::ErrorKind::NotConnected),
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) or
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted<Self::Io>>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        let (io, client_addr) = Self::accept(self).await?;
        // So that the relay loses no urgent byte. One that fails is lost anyway.
        let _ = SockRef::from(&io).set_out_of_band_inline(true);
        let mut session = Session::new().with_client_addr(client_addr);
        if let Ok(local_addr) = io.local_addr() {
            session = session.with_local_addr(local_addr);
        }
        Ok(Accepted::new(io, session))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;

    async fn accept(&mut self) -> io::Result<Accepted<Self::Io>> {
        let (io, _) = Self::accept(self).await?;
        Ok(Accepted::new(io, Session::new()))
    }
}
