//! What can be built from outside the crate: another first stage, an
//! authentication method that wraps the stream, commands, an upstream proxy.
//! Each is small, and stands in a stack as ours do.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod bind;
mod http_connect;
mod protected;
mod udp;
mod upstream;
mod wrapping;

use std::convert::Infallible;

use socks_tower::{Accepted, BoxError, Pinned, Request, Session, Transfer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};
use tower::{Service, ServiceExt, service_fn};

/// Runs a session of `proxy` on a pipe.
fn client_of<S>(proxy: S) -> (DuplexStream, JoinHandle<Result<Transfer, BoxError>>)
where
    S: Service<Accepted<DuplexStream>, Response = Transfer, Error: Into<BoxError>> + Send + 'static,
    S::Future: Send,
{
    let (client, io) = duplex(1024);
    let accepted = Accepted::new(io, Session::new());
    let session = async move { proxy.oneshot(accepted).await.map_err(Into::into) };
    (client, tokio::spawn(session))
}

async fn hears(client: &mut DuplexStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, expected, "{:?}", heard.escape_ascii().to_string());
}

/// A target that says `hello`, then gives everything back.
fn target() -> DuplexStream {
    let (near, mut far) = duplex(1024);
    tokio::spawn(async move {
        far.write_all(b"hello").await.unwrap();
        let (mut read, mut write) = tokio::io::split(far);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    });
    near
}

/// Connects everything to [`target`].
fn connector<T: Send + 'static>() -> impl socks_tower::Connector<Request<T>, Io = DuplexStream> {
    service_fn(|_: Request<T>| async { Ok::<_, Infallible>(target()) })
}

/// The addresses of a target that may be reached: what BIND and UDP want of the
/// stack that CONNECT has, instead of a stream.
async fn pinned(request: Request<Pinned>) -> Result<Pinned, Infallible> {
    Ok(request.target)
}
