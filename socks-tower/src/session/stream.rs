//! Byte streams: any, boxed, and a client's after authentication.

use std::{
    any::Any,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use sync_wrapper::SyncWrapper;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A byte stream in both directions: every `AsyncRead + AsyncWrite` that is
/// `Unpin + Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a byte stream that a session can run on",
    note = "a `Stream` is `AsyncRead + AsyncWrite + Unpin + Send + 'static`"
)]
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A stream of a type that is not told.
pub struct BoxStream {
    io: SyncWrapper<Box<dyn Stream>>,
    is_write_vectored: bool,
}

impl BoxStream {
    /// Forgets the type of `io`.
    pub fn new(io: impl Stream) -> Self {
        Self {
            is_write_vectored: io.is_write_vectored(),
            io: SyncWrapper::new(Box::new(io)),
        }
    }

    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        Pin::new(&mut **self.io.get_mut())
    }

    fn is_vectored(&self) -> bool {
        self.is_write_vectored
    }
}

impl fmt::Debug for BoxStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxStream(..)")
    }
}

/// A client's stream after authentication: as it was, or wrapped by the method
/// (GSS-API protects what follows).
pub struct ClientStream<Io>(Kind<Io>);

enum Kind<Io> {
    Plain(Io),
    Wrapped(BoxStream),
}

impl<Io> ClientStream<Io> {
    /// The stream as it was. If it is a [`TcpStream`], the relay finds it here.
    pub fn plain(io: Io) -> Self {
        Self(Kind::Plain(io))
    }

    /// What an authentication method made of the stream.
    pub fn wrapped(io: BoxStream) -> Self {
        Self(Kind::Wrapped(io))
    }

    /// The stream as it was, unless it is wrapped.
    pub fn get_ref(&self) -> Option<&Io> {
        match &self.0 {
            Kind::Plain(io) => Some(io),
            Kind::Wrapped(_) => None,
        }
    }
}

impl<Io> fmt::Debug for ClientStream<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Plain(_) => "Plain(..)",
            Kind::Wrapped(_) => "Wrapped(..)",
        })
    }
}

impl<Io: Stream> ClientStream<Io> {
    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        match &mut self.0 {
            Kind::Plain(io) => Pin::new(io),
            Kind::Wrapped(io) => io.pin(),
        }
    }

    fn is_vectored(&self) -> bool {
        match &self.0 {
            Kind::Plain(io) => io.is_write_vectored(),
            Kind::Wrapped(io) => io.is_vectored(),
        }
    }
}

/// Reads and writes by way of `pin`, and says `is_vectored`.
macro_rules! by_pin {
    ($name:ident $(<$io:ident>)?) => {
        impl $(<$io: Stream>)? tokio::io::AsyncRead for $name $(<$io>)? {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.pin().poll_read(cx, buf)
            }
        }

        impl $(<$io: Stream>)? tokio::io::AsyncWrite for $name $(<$io>)? {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.pin().poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.pin().poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.is_vectored()
            }

            fn poll_flush(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.pin().poll_flush(cx)
            }

            fn poll_shutdown(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.pin().poll_shutdown(cx)
            }
        }
    };
}

#[cfg(feature = "tls")]
pub(crate) use by_pin;

by_pin!(BoxStream);
by_pin!(ClientStream<Io>);

/// The plain TCP socket that a stream is, if it is one: a [`TcpStream`], alone
/// or as a plain [`ClientStream`].
///
/// A reset can be seen, and passed on, only there; and `splice(2)` needs it.
pub(crate) fn tcp<Io: 'static>(io: &Io) -> Option<&TcpStream> {
    let io = io as &dyn Any;
    match io.downcast_ref::<ClientStream<TcpStream>>() {
        Some(client) => client.get_ref(),
        None => io.downcast_ref::<TcpStream>(),
    }
}

/// A stream with bytes that were read from it before: they come first.
///
/// For what wraps a client's stream once a layer in front has read too far.
pub struct Rewind<Io> {
    buffered: Vec<u8>,
    io: Io,
}

impl<Io> Rewind<Io> {
    /// Reads `buffered` first, then from `io`.
    pub fn new(buffered: Vec<u8>, io: Io) -> Self {
        Self { buffered, io }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }

    /// The bytes that are still to be read first, and the stream.
    pub fn into_parts(self) -> (Vec<u8>, Io) {
        (self.buffered, self.io)
    }
}

impl<Io> fmt::Debug for Rewind<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewind")
            .field("buffered", &self.buffered.len())
            .finish_non_exhaustive()
    }
}

impl<Io: Stream> AsyncRead for Rewind<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if take_buffered(&mut this.buffered, buf) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl<Io: Stream> AsyncWrite for Rewind<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// Moves bytes from the front of `buffered` to `buf`; false if there are none.
pub(crate) fn take_buffered(buffered: &mut Vec<u8>, buf: &mut ReadBuf<'_>) -> bool {
    let len = buffered.len().min(buf.remaining());
    let Some(front) = buffered.get(..len).filter(|front| !front.is_empty()) else {
        return false;
    };
    buf.put_slice(front);
    buffered.drain(..len);
    if buffered.is_empty() {
        *buffered = Vec::new();
    }
    true
}
