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

/// A stream of a type that is not told: one type for streams of several.
///
/// A plain [`TcpStream`] stays one within: nothing is allocated for it, its local
/// address is known, and the kernel still carries its bytes. So a connector that
/// answers now with TCP, now with something else loses nothing by it.
pub struct BoxStream(Erased);

enum Erased {
    Tcp(TcpStream),
    Other(AnyStream),
}

struct AnyStream {
    io: SyncWrapper<Box<dyn Stream>>,
    is_write_vectored: bool,
}

impl AnyStream {
    fn new(io: impl Stream) -> Self {
        Self {
            is_write_vectored: io.is_write_vectored(),
            io: SyncWrapper::new(Box::new(io)),
        }
    }

    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        Pin::new(&mut **self.io.get_mut())
    }
}

impl BoxStream {
    /// Forgets the type of `io`. One that is a `BoxStream` stays as it is.
    pub fn new<Io: Stream>(io: Io) -> Self {
        let mut whole = Some(io);
        let any: &mut dyn Any = &mut whole;
        if let Some(tcp) = take(any) {
            return Self(Erased::Tcp(tcp));
        }
        if let Some(boxed) = take(any) {
            return boxed;
        }
        let Some(io) = whole else {
            unreachable!("nobody took it");
        };
        Self(Erased::Other(AnyStream::new(io)))
    }

    /// The plain TCP socket that it is, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Erased::Tcp(tcp) => Some(tcp),
            Erased::Other(_) => None,
        }
    }

    fn tcp_mut(&mut self) -> Option<&mut TcpStream> {
        match &mut self.0 {
            Erased::Tcp(tcp) => Some(tcp),
            Erased::Other(_) => None,
        }
    }

    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        match &mut self.0 {
            Erased::Tcp(tcp) => Pin::new(tcp),
            Erased::Other(io) => io.pin(),
        }
    }

    fn is_vectored(&self) -> bool {
        match &self.0 {
            Erased::Tcp(tcp) => tcp.is_write_vectored(),
            Erased::Other(io) => io.is_write_vectored,
        }
    }
}

/// What is in the `Option<T>` that `option` is, if it is one.
fn take<T: 'static>(option: &mut dyn Any) -> Option<T> {
    option.downcast_mut::<Option<T>>()?.take()
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
    /// Not a `BoxStream`, whose room for a socket would make each tunnel larger.
    Wrapped(AnyStream),
}

impl<Io> ClientStream<Io> {
    /// The stream as it was. If it is a [`TcpStream`], the relay finds it here.
    pub fn plain(io: Io) -> Self {
        Self(Kind::Plain(io))
    }

    /// What an authentication method made of the stream.
    pub fn wrapped(io: BoxStream) -> Self {
        Self(Kind::Wrapped(match io.0 {
            Erased::Tcp(tcp) => AnyStream::new(tcp),
            Erased::Other(io) => io,
        }))
    }

    /// The stream as it was, unless it is wrapped.
    pub fn get_ref(&self) -> Option<&Io> {
        match &self.0 {
            Kind::Plain(io) => Some(io),
            Kind::Wrapped(_) => None,
        }
    }

    fn get_mut(&mut self) -> Option<&mut Io> {
        match &mut self.0 {
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
            Kind::Wrapped(io) => io.is_write_vectored,
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

/// The plain TCP socket that a stream is, if it is one: a [`TcpStream`], alone, in a
/// [`BoxStream`], or as a plain [`ClientStream`] of either.
///
/// A reset can be seen, and passed on, only there; and `splice(2)` needs it.
pub(crate) fn tcp<Io: 'static>(io: &Io) -> Option<&TcpStream> {
    let io = io as &dyn Any;
    if let Some(client) = io.downcast_ref::<ClientStream<TcpStream>>() {
        client.get_ref()
    } else if let Some(client) = io.downcast_ref::<ClientStream<BoxStream>>() {
        client.get_ref()?.tcp()
    } else if let Some(boxed) = io.downcast_ref::<BoxStream>() {
        boxed.tcp()
    } else {
        io.downcast_ref::<TcpStream>()
    }
}

/// The same, to be exchanged for another of the same connection.
pub(crate) fn tcp_mut<Io: 'static>(io: &mut Io) -> Option<&mut TcpStream> {
    // Asked first: what is borrowed in one arm stays borrowed in the next.
    let io = io as &mut dyn Any;
    if io.is::<ClientStream<TcpStream>>() {
        io.downcast_mut::<ClientStream<TcpStream>>()?.get_mut()
    } else if io.is::<ClientStream<BoxStream>>() {
        io.downcast_mut::<ClientStream<BoxStream>>()?
            .get_mut()?
            .tcp_mut()
    } else if io.is::<BoxStream>() {
        io.downcast_mut::<BoxStream>()?.tcp_mut()
    } else {
        io.downcast_mut()
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

/// Makes of a stream the one that everything behind an authentication runs on.
pub(crate) type Wrap = Box<dyn FnOnce(BoxStream) -> BoxStream + Send>;

pub(crate) fn wrap_by<S: Stream>(wrap: impl FnOnce(BoxStream) -> S + Send + 'static) -> Wrap {
    Box::new(|io| BoxStream::new(wrap(io)))
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn tcp_is_found_in_a_box_in_a_box_and_behind_a_client() {
        let boxed = BoxStream::new(BoxStream::new(connected().await));
        assert!(boxed.tcp().is_some());
        assert!(tcp(&boxed).is_some());
        assert!(tcp(&ClientStream::plain(boxed)).is_some());
        assert!(tcp(&ClientStream::plain(connected().await)).is_some());
        assert!(tcp(&BoxStream::new(tokio::io::empty())).is_none());
        let wrapped = Rewind::new(Vec::new(), connected().await);
        assert!(tcp(&BoxStream::new(wrapped)).is_none());
    }

    #[test]
    fn a_box_is_no_larger_than_a_socket_and_a_word() {
        let socket = size_of::<TcpStream>();
        assert!(size_of::<BoxStream>() <= socket + size_of::<usize>());
        assert_eq!(size_of::<ClientStream<TcpStream>>(), socket);
    }
}
