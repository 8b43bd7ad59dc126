//! What an authentication method makes of the datagrams of an association.

use std::{fmt, ops::Range, sync::Arc};

/// Wraps the datagrams of a UDP association, as
/// [`Admitted::with_wrap`](crate::Admitted::with_wrap) wraps the stream
/// (RFC 1928 section 3: a method that encapsulates, encapsulates datagrams too).
///
/// A method hands it on by [`Admitted::with_datagrams`](crate::Admitted::with_datagrams),
/// and the client's method by
/// [`Authenticated::with_datagrams`](crate::works::upstream::Authenticated::with_datagrams).
/// What it cannot wrap or unwrap is dropped, and the association goes on: anybody can
/// send a datagram.
///
/// # Example
///
/// A method, or both sides of one, that inverts every byte: a protection of sorts.
///
/// ```
/// use std::{
///     io,
///     ops::Range,
///     pin::Pin,
///     task::{Context, Poll},
/// };
/// use socks_tower::{
///     Admitted, AuthMethod, AuthenticateLayer, BoxError, BoxStream, DatagramWrapper, Identity,
///     Method, Negotiation, Socks5Connector, async_trait,
///     works::upstream::{Authenticated, ClientMethod, ProxyNegotiation, direct},
/// };
/// use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
///
/// struct Inverting;
///
/// #[async_trait]
/// impl AuthMethod for Inverting {
///     fn code(&self) -> Method {
///         Method(0x80)
///     }
///
///     async fn authenticate(&self, _: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
///         let somebody = Admitted::from(Identity::new("somebody"));
///         Ok(somebody.with_wrap(Inverted).with_datagrams(Inverting))
///     }
/// }
///
/// #[async_trait]
/// impl ClientMethod for Inverting {
///     fn code(&self) -> Method {
///         Method(0x80)
///     }
///
///     async fn authenticate(&self, _: &mut ProxyNegotiation<'_>) -> Result<Authenticated, BoxError> {
///         Ok(Authenticated::new().with_wrap(Inverted).with_datagrams(Inverting))
///     }
/// }
///
/// impl DatagramWrapper for Inverting {
///     fn wrap(&self, datagram: &[u8], out: &mut Vec<u8>) -> bool {
///         out.extend(datagram.iter().map(|byte| !byte));
///         true
///     }
///
///     fn unwrap(&self, datagram: &mut [u8]) -> Option<Range<usize>> {
///         datagram.iter_mut().for_each(|byte| *byte = !*byte);
///         Some(0..datagram.len())
///     }
/// }
///
/// /// The stream, with every byte inverted.
/// struct Inverted(BoxStream);
///
/// impl AsyncRead for Inverted {
///     fn poll_read(
///         mut self: Pin<&mut Self>,
///         cx: &mut Context<'_>,
///         buf: &mut ReadBuf<'_>,
///     ) -> Poll<io::Result<()>> {
///         let before = buf.filled().len();
///         let read = Pin::new(&mut self.0).poll_read(cx, buf);
///         buf.filled_mut().iter_mut().skip(before).for_each(|byte| *byte = !*byte);
///         read
///     }
/// }
///
/// impl AsyncWrite for Inverted {
///     fn poll_write(
///         mut self: Pin<&mut Self>,
///         cx: &mut Context<'_>,
///         buf: &[u8],
///     ) -> Poll<io::Result<usize>> {
///         let inverted: Vec<u8> = buf.iter().map(|byte| !byte).collect();
///         Pin::new(&mut self.0).poll_write(cx, &inverted)
///     }
///
///     fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_flush(cx)
///     }
///
///     fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_shutdown(cx)
///     }
/// }
///
/// let server = AuthenticateLayer::new(Inverting);
/// let client = Socks5Connector::new("192.0.2.1:1080".parse()?, direct()).with_method(Inverting);
/// # Ok::<(), socks_tower::ParseTargetError>(())
/// ```
pub trait DatagramWrapper: Send + Sync + 'static {
    /// Appends to `out` what `datagram`, header and data, travels as. False if it does
    /// not travel.
    fn wrap(&self, datagram: &[u8], out: &mut Vec<u8>) -> bool;

    /// Unwraps `datagram` in its place, and says where in it header and data are. None
    /// if it is not what the other side has sent, or has come before.
    fn unwrap(&self, datagram: &mut [u8]) -> Option<Range<usize>>;
}

/// The wrapper that a session's method left, in its extensions: so no session is
/// larger for it.
#[derive(Clone)]
pub(crate) struct WrapsDatagrams(pub(crate) Arc<dyn DatagramWrapper>);

impl WrapsDatagrams {
    /// Unwraps `datagram` in its place, and moves what it is to the front of it; its
    /// length.
    pub(crate) fn unwrap(&self, datagram: &mut [u8]) -> Option<usize> {
        let range = self.0.unwrap(datagram)?;
        let len = datagram.get(range.clone())?.len();
        datagram.copy_within(range, 0);
        Some(len)
    }
}

impl fmt::Debug for WrapsDatagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrapsDatagrams(..)")
    }
}
