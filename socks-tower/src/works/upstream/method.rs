use std::{
    any::Any,
    fmt, io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use socks_core::{
    Decode, Decoded,
    v5::{Command, Method},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::session::{BoxError, BoxStream, DatagramWrapper, Stream, Wrap, WrapsDatagrams, wrap_by};

pub(super) const NOBODY_S: &str = "the proxy chose a method that nobody negotiates";

/// One of SOCKS5's authentication methods (RFC 1928 section 3), as a client
/// negotiates it. [`AuthMethod`](crate::AuthMethod) is the server's side.
///
/// Username and password need none: [`Socks5Connector::with_credentials`].
///
/// ```
/// use socks_tower::{
///     BoxError, Method, async_trait,
///     works::upstream::{Authenticated, ClientMethod, ProxyNegotiation, Socks5Connector, direct},
/// };
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// /// The right byte is 42.
/// struct Magic;
///
/// #[async_trait]
/// impl ClientMethod for Magic {
///     fn code(&self) -> Method {
///         Method(0x80)
///     }
///
///     async fn authenticate(&self, proxy: &mut ProxyNegotiation<'_>) -> Result<Authenticated, BoxError> {
///         proxy.write_all(&[42]).await?;
///         match proxy.read_u8().await? {
///             0 => Ok(Authenticated::new()),
///             _ => Err("wrong byte".into()),
///         }
///     }
/// }
///
/// let proxy = "proxy.example:1080".parse()?;
/// let connector = Socks5Connector::new(proxy, direct()).with_method(Magic);
/// # Ok::<(), socks_tower::ParseTargetError>(())
/// ```
///
/// One that wraps the stream is on the page of [`DatagramWrapper`].
///
/// [`Socks5Connector::with_credentials`]: super::Socks5Connector::with_credentials
#[async_trait]
pub trait ClientMethod: Send + Sync + 'static {
    /// The method's code.
    fn code(&self) -> Method;

    /// Negotiates with the proxy, up to the last byte of its verdict and no
    /// further.
    ///
    /// # Errors
    ///
    /// If the proxy does not let us in, whatever the reason.
    async fn authenticate(
        &self,
        proxy: &mut ProxyNegotiation<'_>,
    ) -> Result<Authenticated, BoxError>;
}

#[async_trait]
impl<M: ClientMethod + ?Sized> ClientMethod for Arc<M> {
    fn code(&self) -> Method {
        M::code(self)
    }

    async fn authenticate(
        &self,
        proxy: &mut ProxyNegotiation<'_>,
    ) -> Result<Authenticated, BoxError> {
        M::authenticate(self, proxy).await
    }
}

/// The proxy lets us in, and this is how the stream to it goes on.
#[derive(Default)]
pub struct Authenticated {
    wrap: Option<Wrap>,
    datagrams: Option<WrapsDatagrams>,
}

impl Authenticated {
    /// The stream goes on as it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All that follows, the request first, runs on the stream that `wrap` makes of
    /// this one.
    #[must_use]
    pub fn with_wrap<S: Stream>(
        mut self,
        wrap: impl FnOnce(BoxStream) -> S + Send + 'static,
    ) -> Self {
        self.wrap = Some(wrap_by(wrap));
        self
    }

    /// The datagrams of an association are wrapped by `wrapper`. Without, they go as
    /// they are, even if the stream is wrapped.
    #[must_use]
    pub fn with_datagrams(mut self, wrapper: impl DatagramWrapper) -> Self {
        self.datagrams = Some(WrapsDatagrams(Arc::new(wrapper)));
        self
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("wraps", &self.wrap.is_some())
            .field("wraps_datagrams", &self.datagrams.is_some())
            .finish()
    }
}

/// The stream to a proxy, lent to a [`ClientMethod`] for its negotiation.
///
/// What is written is flushed by itself before the next read, and at the end.
pub struct ProxyNegotiation<'a> {
    command: Command,
    io: &'a mut dyn Stream,
    is_flushed: bool,
}

impl<'a> ProxyNegotiation<'a> {
    /// The negotiation before a request for `command`.
    pub fn new(command: Command, io: &'a mut dyn Stream) -> Self {
        Self {
            command,
            io,
            is_flushed: true,
        }
    }

    /// What the proxy will be asked for.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command
    }

    /// Reads one message, and not a byte behind it.
    ///
    /// # Errors
    ///
    /// The stream's, [`io::ErrorKind::UnexpectedEof`] if it ends before the message
    /// does, and [`io::ErrorKind::InvalidData`] around the message's error if the bytes
    /// are no such message.
    pub async fn read_message<M>(&mut self) -> io::Result<M>
    where
        M: Decode<Error: Into<BoxError>>,
    {
        let mut read = Vec::new();
        let mut needed = M::MIN_LEN;
        loop {
            let len = read.len();
            read.resize(len + needed, 0);
            self.read_exact(read.get_mut(len..).unwrap_or_default())
                .await?;
            match M::decode(&read) {
                Ok(Decoded::Complete { message, .. }) => return Ok(message),
                Ok(Decoded::Incomplete { needed: more }) => needed = more,
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

impl fmt::Debug for ProxyNegotiation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyNegotiation")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for ProxyNegotiation<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut *self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for ProxyNegotiation<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut *self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_flushed {
            ready!(Pin::new(&mut *self.io).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}

/// Negotiates by that one of `methods` which the proxy chose, and gives what it makes of
/// datagrams.
pub(super) async fn authenticate<Io: Stream>(
    methods: &[Arc<dyn ClientMethod>],
    command: Command,
    code: Method,
    io: &mut Io,
) -> Result<Option<WrapsDatagrams>, BoxError> {
    let method = methods.iter().find(|method| method.code() == code);
    let method = method.ok_or(NOBODY_S)?;
    let mut negotiation = ProxyNegotiation::new(command, io);
    let Authenticated { wrap, datagrams } = method.authenticate(&mut negotiation).await?;
    negotiation.flush().await?;
    if let Some(wrap) = wrap {
        // Whoever has methods has such a stream: `with_method` sees to that.
        let io: &mut dyn Any = io;
        let io = io.downcast_mut::<BoxStream>();
        let io = io.ok_or("the stream to the proxy cannot be wrapped")?;
        let beneath = mem::replace(io, BoxStream::new(tokio::io::empty()));
        *io = wrap(beneath);
    }
    Ok(datagrams)
}
