//! Whether the kernel has sent all that it was given.
//!
//! A socket that is to be reset throws away what it has not sent. The kernel
//! does not say how much that is where we could ask without `unsafe`, but it can
//! be made to call a socket writable only when there is none.

use std::time::Duration;

use tokio::net::TcpStream;

/// How often to ask: the kernel says nothing by itself.
pub(super) const INTERVAL: Duration = Duration::from_millis(10);

/// Makes the socket count as not writable until all has been sent. False if
/// there is no telling.
///
/// Nothing can be written from here on.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn ask(stream: &TcpStream) -> bool {
    use std::io::{Error, ErrorKind};

    use socket2::SockRef;
    use tokio::io::Interest;

    // Forget that it was writable in the ordinary sense.
    let forgotten: Result<(), Error> =
        stream.try_io(Interest::WRITABLE, || Err(ErrorKind::WouldBlock.into()));
    drop(forgotten);
    // Setting the mark makes the kernel look, and report a writable socket.
    SockRef::from(stream).set_tcp_notsent_lowat(1).is_ok()
}

/// Elsewhere, hope.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn ask(_: &TcpStream) -> bool {
    false
}
