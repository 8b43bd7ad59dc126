//! Connectors for the clients of hyper-util and tonic.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use socks_core::{Host, Target, v5::Command};

use crate::session::{
    Connector, Error, ErrorKind, Guard, IntoOutbound, Outbound, Request, Session, Stream,
    opaque_future,
};

/// A stream to a target, as hyper takes it.
pub struct HyperStream<Io> {
    io: TokioIo<Io>,
    /// Dropped when the connection ends: it counts that.
    _guard: Option<Guard>,
}

impl<Io> HyperStream<Io> {
    /// The stream itself. Whatever counted it is told that it has ended.
    pub fn into_inner(self) -> Io {
        self.io.into_inner()
    }
}

impl<Io> fmt::Debug for HyperStream<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HyperStream(..)")
    }
}

/// A tunnel leads to the target itself, whatever proxies it passes: requests are
/// written as to the target.
impl<Io> Connection for HyperStream<Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<Io: Stream> HyperStream<Io> {
    fn pin(&mut self) -> Pin<&mut TokioIo<Io>> {
        Pin::new(&mut self.io)
    }
}

impl<Io: Stream> Read for HyperStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.pin().poll_read(cx, buf)
    }
}

impl<Io: Stream> Write for HyperStream<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pin().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pin().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

type BoxConnect<Io> = Pin<Box<dyn Future<Output = Result<HyperStream<Io>, Error>> + Send>>;

opaque_future! {
    /// The future of a connector that hyper's clients call.
    UriFuture<Io> -> Result<HyperStream<Io>, Error> = BoxConnect<Io>
}

/// A URI names no host that a connection could be made to.
#[derive(Debug, thiserror::Error)]
#[error("{0} names no host")]
struct NoHost(Uri);

/// Connects to the host that `uri` names, by a connector that is ready.
pub(crate) fn connect<C>(connector: C, uri: Uri) -> UriFuture<C::Io>
where
    C: Connector<Request>,
{
    UriFuture::new(Box::pin(async move {
        let Some(target) = target(&uri) else {
            return Err(Error::new(ErrorKind::Connect, NoHost(uri)));
        };
        let request = Request::new(Session::new(), Command::CONNECT, target);
        let upstream = connector.run(request).await.map_err(Error::from_box)?;
        let Outbound { io, guard, .. } = upstream.into_outbound();
        Ok(HyperStream {
            io: TokioIo::new(io),
            _guard: guard,
        })
    }))
}

fn target(uri: &Uri) -> Option<Target> {
    let host = Host::parse(uri.host()?).ok()?;
    let port = uri.port_u16().or(match uri.scheme_str() {
        Some("https" | "wss") => Some(443),
        Some("http" | "ws") => Some(80),
        _ => None,
    })?;
    Some(Target::new(host, port))
}

/// Lets hyper's clients call a connector of ours.
macro_rules! uri_connector {
    ($name:ident) => {
        /// For the clients of hyper-util and tonic, and for whatever else connects
        /// to the host of a URI.
        impl<C: crate::session::Connector<crate::session::Request>>
            tower_service::Service<http::Uri> for $name<C>
        {
            type Response = crate::works::upstream::HyperStream<
                <Self as crate::session::Connector<crate::session::Request>>::Io,
            >;
            type Error = crate::session::Error;
            type Future = crate::works::upstream::UriFuture<
                <Self as crate::session::Connector<crate::session::Request>>::Io,
            >;

            crate::session::always_ready!();

            fn call(&mut self, uri: http::Uri) -> Self::Future {
                crate::works::upstream::uri::connect(self.clone(), uri)
            }
        }
    };
}
pub(crate) use uri_connector;
