//! A proxy in memory, and clients from anywhere.

use std::{convert::Infallible, time::Duration};

use socks_tower::{
    Accepted, Attempt, AuthenticateLayer, BoxError, ConnectLayer, Connector, HandshakeLayer,
    Identity, NoAuth, Proxy, Relay, Request, Session, v4::UserId,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::sleep,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const SOCKS5: &[u8] = b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50";
pub(crate) const GRANTED5: &[u8] = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
/// General failure.
pub(crate) const REFUSED5: &[u8] = b"\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00";

pub(crate) const SOCKS4: &[u8] = b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00";
pub(crate) const GRANTED4: &[u8] = b"\x00\x5a\x00\x00\x00\x00\x00\x00";
pub(crate) const REFUSED4: &[u8] = b"\x00\x5b\x00\x00\x00\x00\x00\x00";

/// A client of SOCKS4 that says who it is.
pub(crate) fn socks4_of(name: &str) -> Vec<u8> {
    [
        b"\x04\x01\x00\x50\xc0\x00\x02\x01",
        name.as_bytes(),
        b"\x00",
    ]
    .concat()
}

/// A client on a pipe.
pub(crate) struct Client {
    io: DuplexStream,
}

impl Client {
    /// One that comes from `from`, and says `bytes`.
    pub(crate) async fn says<P>(proxy: &P, from: &str, bytes: &[u8]) -> Self
    where
        P: Proxy<DuplexStream, Future: Send> + Clone + Send + 'static,
    {
        let (mut io, far) = duplex(1024);
        let session = match from {
            "nowhere" => Session::new(),
            ip => {
                Session::new().with_client_addr((ip.parse::<std::net::IpAddr>().unwrap(), 1).into())
            }
        };
        let accepted = Accepted::new(far, session);
        let proxy = proxy.clone();
        tokio::spawn(async move {
            proxy
                .oneshot(accepted)
                .await
                .map_err(Into::<BoxError>::into)
        });
        // One that is turned away at once may not listen any more.
        let _ = io.write_all(bytes).await;
        Self { io }
    }

    pub(crate) async fn hears(&mut self, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        self.io.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
    }

    pub(crate) async fn hears_the_end(&mut self) {
        let mut heard = Vec::new();
        self.io.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }

    /// Hangs up, and lets the session end.
    pub(crate) async fn hangs_up(self) {
        drop(self);
        sleep(Duration::from_millis(1)).await;
    }
}

/// A target that never says anything.
pub(crate) async fn target<T>(_: Request<T>) -> Result<DuplexStream, Infallible> {
    let (near, mut far) = duplex(64);
    tokio::spawn(async move { far.read_u8().await });
    Ok(near)
}

/// Lets everybody in; a SOCKS4 client that gives a name has it.
pub(crate) fn open(
    connector: impl Connector<Request>,
) -> impl Proxy<DuplexStream, Future: Send> + Clone + Send {
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}

/// Lets SOCKS4 clients in as whom they say they are.
pub(crate) fn named(
    connector: impl Connector<Request>,
) -> impl Proxy<DuplexStream, Future: Send> + Clone + Send {
    let claims = service_fn(|attempt: Attempt<UserId>| async move {
        let name = String::from_utf8_lossy(attempt.credentials.as_bytes()).into_owned();
        Ok::<_, Infallible>(Identity::new(name))
    });
    ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth).with_user_ids(claims))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new())
}
