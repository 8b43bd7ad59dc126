//! HTTP and another protocol on one port.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::io::AsyncReadExt;
use tower_layer::Layer;
use tower_service::Service;

use super::{HttpConnectLayer, head::is_http};
use crate::session::{
    Accepted, BoxError, Error, ErrorKind, READ_SIZE, Stage, StageFuture, Stream, always_ready,
    go_on, timeout_at,
};

/// Two ways in to the same stages. [`HttpConnectLayer::or`] makes one.
#[derive(Clone, Debug)]
pub struct ByProtocolLayer<F, H = HttpConnectLayer> {
    pub(in crate::stages) timeout: Duration,
    pub(in crate::stages) http: H,
    pub(in crate::stages) front: F,
}

impl<S: Clone, F: Layer<S>, H: Layer<S>> Layer<S> for ByProtocolLayer<F, H> {
    type Service = ByProtocol<H::Service, F::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        ByProtocol {
            timeout: self.timeout,
            http: self.http.layer(inner.clone()),
            other: self.front.layer(inner),
        }
    }
}

/// Sends HTTP clients to `H`, all others to `F`. See the
/// [module's page](crate::stages::http_connect).
#[derive(Clone, Debug)]
pub struct ByProtocol<H, F> {
    timeout: Duration,
    http: H,
    other: F,
}

impl<Io, H, F> Service<Accepted<Io>> for ByProtocol<H, F>
where
    Io: Stream,
    H: Stage<Accepted<Io>>,
    F: Stage<Accepted<Io>, Response = H::Response>,
{
    type Response = F::Response;
    type Error = Error;
    type Future = StageFuture<ByProtocolFuture<H::Future, F::Future>>;

    always_ready!();

    fn call(&mut self, mut accepted: Accepted<Io>) -> Self::Future {
        let deadline = accepted.deadline(self.timeout);
        let (http, other) = (self.http.clone(), self.other.clone());
        let own = async move {
            let first = match timeout_at(deadline, first_byte(&mut accepted)).await {
                Ok(first) => first?,
                Err(elapsed) => return Err(Error::new(ErrorKind::Deadline, elapsed)),
            };
            if is_http(first) {
                let http = go_on(http, accepted).await?;
                Ok(Stack::Http { http })
            } else {
                let other = go_on(other, accepted).await?;
                Ok(Stack::Other { other })
            }
        };
        StageFuture::boxed(async move {
            let stack = own.await?;
            Ok(ByProtocolFuture { stack })
        })
    }
}

/// Looks at the first byte, and leaves it to be read.
async fn first_byte<Io: Stream>(accepted: &mut Accepted<Io>) -> Result<u8, Error> {
    loop {
        if let Some(&first) = accepted.buffered.first() {
            return Ok(first);
        }
        accepted.buffered.reserve(READ_SIZE);
        let read = accepted.io.read_buf(&mut accepted.buffered).await;
        if read.map_err(Error::client)? == 0 {
            return Err(Error::client(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

pin_project! {
    /// The future of [`ByProtocol`] once the first byte is known.
    #[must_use = "futures do nothing unless polled"]
    pub struct ByProtocolFuture<H, F> {
        #[pin]
        stack: Stack<H, F>,
    }
}

pin_project! {
    #[project = StackProjection]
    enum Stack<H, F> {
        Http { #[pin] http: H },
        Other { #[pin] other: F },
    }
}

impl<H, F, R, EH, EF> Future for ByProtocolFuture<H, F>
where
    H: Future<Output = Result<R, EH>>,
    F: Future<Output = Result<R, EF>>,
    EH: Into<BoxError>,
    EF: Into<BoxError>,
{
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = match self.project().stack.project() {
            StackProjection::Http { http } => ready!(http.poll(cx)).map_err(Into::into),
            StackProjection::Other { other } => ready!(other.poll(cx)).map_err(Into::into),
        };
        Poll::Ready(ended.map_err(Error::from_box))
    }
}

impl<H, F> fmt::Debug for ByProtocolFuture<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByProtocolFuture(..)")
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::Instant};
    use tokio_test::io::Mock;

    use super::*;
    use crate::{
        session::{ClientStream, Identity, Protocol, Requested},
        stages::{
            authenticate::{AuthenticateLayer, NoAuth, Users},
            handshake::HandshakeLayer,
        },
        test_support::{CONNECT, HELLO, Stop, accepted, script},
    };

    fn open() -> ByProtocolLayer<(HandshakeLayer, AuthenticateLayer)> {
        HttpConnectLayer::open().or((HandshakeLayer::new(), AuthenticateLayer::new(NoAuth)))
    }

    async fn negotiate<F>(
        layer: ByProtocolLayer<F>,
        io: Mock,
    ) -> Result<Requested<ClientStream<Mock>>, Error>
    where
        F: Layer<Stop>,
        F::Service: Stage<Accepted<Mock>, Response = Requested<ClientStream<Mock>>>,
    {
        layer.layer(Stop).call(accepted(io)).await
    }

    #[tokio::test]
    async fn each_protocol_comes_to_the_same_stages() {
        let http = script()
            .read(b"C")
            .read(b"ONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\nearly")
            .build();
        let requested = negotiate(open(), http).await.unwrap();
        assert_eq!(requested.request.target.to_string(), "127.0.0.1:80");
        assert_eq!(requested.request.session.protocol, Some(Protocol::Http11));
        assert_eq!(requested.client.early, b"early");

        let socks5 = script()
            .read(HELLO)
            .write(b"\x05\x00")
            .read(CONNECT)
            .build();
        let requested = negotiate(open(), socks5).await.unwrap();
        assert_eq!(requested.request.target.to_string(), "127.0.0.1:80");
        assert_eq!(requested.request.session.protocol, Some(Protocol::Socks5));

        let socks4 = script()
            .read(b"\x04")
            .read(b"\x01\x00\x50\x7f\x00\x00\x01\x00early")
            .build();
        let requested = negotiate(open(), socks4).await.unwrap();
        assert_eq!(requested.request.target.to_string(), "127.0.0.1:80");
        assert_eq!(requested.request.session.protocol, Some(Protocol::Socks4));
        assert_eq!(requested.client.early, b"early");
    }

    #[tokio::test]
    async fn each_way_in_is_guarded_by_itself() {
        let users = Users::new().with("joe", "good").unwrap();
        let guarded = || {
            HttpConnectLayer::open().or((
                HandshakeLayer::new(),
                AuthenticateLayer::password(users.clone()),
            ))
        };

        let http = script().read(b"CONNECT a:1 HTTP/1.1\r\n\r\n").build();
        negotiate(guarded(), http).await.unwrap();

        let socks = script().read(HELLO).write(b"\x05\xff").build();
        let error = negotiate(guarded(), socks).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
    }

    #[tokio::test]
    async fn tls_and_ssh_are_turned_away() {
        let io = script().read(b"\x16\x03\x01").build();
        let error = negotiate(open(), io).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);

        // An upper-case letter: told in HTTP's words once its line has ended.
        let mut accepted = accepted(duplex(1024).1);
        accepted.buffered = b"SSH-2.0-client\r\n".to_vec();
        let result = open().layer(Stop).call(accepted).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_at_once_is_gone() {
        let error = negotiate(open(), script().build()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClientGone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_hung_up_on_at_the_deadline() {
        let (_client, io) = duplex(64);
        let began = Instant::now();

        let result = open().layer(Stop).call(accepted(io)).await;

        assert_eq!(result.unwrap_err().kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), HandshakeLayer::DEFAULT_TIMEOUT);
    }

    #[tokio::test]
    async fn who_a_certificate_named_stays_known() {
        for (sent, heard) in [
            ([HELLO, CONNECT].concat(), b"\x05\x00".as_slice()),
            (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00".to_vec(), b""),
            (b"CONNECT a:1 HTTP/1.1\r\n\r\n".to_vec(), b""),
        ] {
            let mut io = script();
            io.read(&sent);
            if !heard.is_empty() {
                io.write(heard);
            }
            let mut accepted = accepted(io.build());
            accepted.session.identity = Some(Identity::new("cert"));

            let requested = open().layer(Stop).call(accepted).await.unwrap();

            let identity = requested.request.session.identity;
            assert_eq!(identity.unwrap().as_str(), "cert");
        }
    }
}
