//! A proxy that serves all that [`Speaks`](crate::speaks::Speaks) can say.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use socks_tower::{
    AuthenticateLayer, Connector, DomainName, NoAuth, Pinned, Proxy as Stack, Request, Resolver,
    Rules, ServeError, Server, Socks, TcpAcceptor, TcpConnector, UsernamePassword, Users,
};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use tower::service_fn;

use crate::{speaks::Speaks, streams::patiently};

const HOUR: Duration = Duration::from_secs(3600);

/// Let in by a password or by nothing, whichever they offer.
fn auth() -> AuthenticateLayer {
    let users = Users::new().with("joe", "secret").unwrap();
    AuthenticateLayer::new(NoAuth).or(UsernamePassword::new(users))
}

/// Every name is this machine's; no deadline hides what should have ended by
/// itself.
pub(crate) fn socks<C>(connector: C) -> Socks<C, Rules, impl Resolver + Sync>
where
    C: Connector<Request<Pinned>>,
{
    let here =
        |_: Request<DomainName>| async { Ok::<_, Infallible>([IpAddr::from(Ipv4Addr::LOCALHOST)]) };
    Socks::new()
        .with_auth(auth())
        .with_rules(Rules::new().permit_all_special())
        .with_resolver(service_fn(here))
        .with_connector(connector)
        .with_handshake_timeout(HOUR)
        .with_connect_timeout(HOUR)
}

/// A running proxy. Dropping it cuts its sessions.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) task: AbortOnDropHandle<Result<(), ServeError>>,
}

impl Proxy {
    /// One that dials.
    pub(crate) async fn new() -> Self {
        Self::of(socks(TcpConnector::new())).await
    }

    /// One that serves `stack`.
    pub(crate) async fn of<S>(stack: S) -> Self
    where
        S: Stack<TcpStream, Error: Send> + Send + 'static,
    {
        Self::by(stack, |server| server).await
    }

    /// One that serves `stack` by a server that `configure` has set up.
    pub(crate) async fn by<S>(
        stack: S,
        configure: impl FnOnce(Server<TcpAcceptor>) -> Server<TcpAcceptor>,
    ) -> Self
    where
        S: Stack<TcpStream, Error: Send> + Send + 'static,
    {
        let server = configure(Server::bind("127.0.0.1:0").await.unwrap());
        let addr = server.local_addr();
        let task = AbortOnDropHandle::new(tokio::spawn(server.serve(stack)));
        Self { addr, task }
    }

    /// A client that has said nothing yet.
    pub(crate) async fn client(&self) -> TcpStream {
        let client = patiently("connect", TcpStream::connect(self.addr)).await;
        client.unwrap()
    }

    /// A client and its target, with a tunnel between them.
    pub(crate) async fn tunnel(&self, speaks: Speaks) -> (TcpStream, TcpStream) {
        use tokio::io::AsyncWriteExt;

        let listener = crate::streams::target().await;
        let mut client = self.client().await;
        let words = speaks.connect(listener.local_addr().unwrap());
        client.write_all(&words).await.unwrap();
        let target = crate::streams::accept(&listener).await;
        speaks.hears_that_it_is_granted(&mut client).await;
        (client, target)
    }
}
