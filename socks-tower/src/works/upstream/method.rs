use std::sync::Arc;

use async_trait::async_trait;
use socks_core::v5::Method;

use crate::session::{BoxError, Stream};

/// One of SOCKS5's authentication methods (RFC 1928 section 3), as a client
/// negotiates it. [`AuthMethod`](crate::AuthMethod) is the server's side.
///
/// Username and password need none: [`Socks5Connector::with_credentials`].
///
/// ```
/// use socks_tower::{
///     BoxError, Method, Stream, async_trait,
///     works::upstream::{ClientMethod, Socks5Connector, direct},
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
///     async fn authenticate(&self, proxy: &mut dyn Stream) -> Result<(), BoxError> {
///         proxy.write_all(&[42]).await?;
///         proxy.flush().await?;
///         if proxy.read_u8().await? == 0 { Ok(()) } else { Err("wrong byte".into()) }
///     }
/// }
///
/// let proxy = "proxy.example:1080".parse()?;
/// let connector = Socks5Connector::new(proxy, direct()).with_method(Magic);
/// # Ok::<(), socks_tower::ParseTargetError>(())
/// ```
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
    async fn authenticate(&self, proxy: &mut dyn Stream) -> Result<(), BoxError>;
}

#[async_trait]
impl<M: ClientMethod + ?Sized> ClientMethod for Arc<M> {
    fn code(&self) -> Method {
        M::code(self)
    }

    async fn authenticate(&self, proxy: &mut dyn Stream) -> Result<(), BoxError> {
        M::authenticate(self, proxy).await
    }
}
