use std::{net::SocketAddr, sync::Arc};

use socks_core::{Target, v5::Command};
use tokio::net::TcpStream;
use tower_service::Service;

use super::{BindError, layer::Config, peer::Expected};
use crate::{
    server::{self, TcpAcceptor},
    session::{
        Connected, Error, ErrorKind, Inbound, Judge, Outbound, Pinned, Request, Requested, Session,
        Stage, StageFuture, Stream, always_ready, opaque_future, tcp, timeout, trace,
        watch::StageKind,
    },
    stages::listen_addrs::ListenAddr,
};

/// Waits for a peer that `J` permits and replies twice, then goes on to `S`.
/// See the [module's page](crate::stages::bind).
#[derive(Clone, Debug)]
pub struct Bind<J, S> {
    pub(super) judge: J,
    pub(super) config: Arc<Config>,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Bind`].
    BindFuture<F> = StageFuture<F>
}

impl<Io, J, S> Service<Requested<Io>> for Bind<J, S>
where
    Io: Stream,
    J: Judge,
    S: Stage<Connected<Io, TcpStream>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = BindFuture<S::Future>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let own = bind(self.judge.clone(), self.config.clone(), requested);
        BindFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn bind<Io, J>(
    judge: J,
    config: Arc<Config>,
    requested: Requested<Io>,
) -> Result<Connected<Io, TcpStream>, Error>
where
    Io: Stream,
    J: Judge,
{
    let Requested {
        mut client,
        request,
    } = requested;
    request.session.watch.requested(&request);
    let stage = trace::stage(StageKind::Bind, &request.session);
    let served = stage.run(serve(judge, &config, &mut client, &request));
    let served = served.await.map(Outbound::new);
    connected(client, request, served).await
}

/// What the stage comes to.
pub(super) async fn connected<Io: Stream, Up: Stream>(
    client: Inbound<Io>,
    request: Request,
    served: Result<Outbound<Up>, Error>,
) -> Result<Connected<Io, Up>, Error> {
    match served {
        Ok(upstream) => {
            request.session.watch.established(tcp(&upstream.io));
            Ok(Connected {
                client,
                upstream,
                request,
            })
        }
        Err(error) => Err(client.refuse(error).await),
    }
}

/// Both replies; the second, too, may be a refusal.
async fn serve<Io, J>(
    judge: J,
    config: &Config,
    client: &mut Inbound<Io>,
    request: &Request,
) -> Result<TcpStream, Error>
where
    Io: Stream,
    J: Judge,
{
    if request.command != Command::BIND {
        return Err(Error::bare(ErrorKind::Command));
    }
    let permitted = client.watch_open(judge.clone().run(request.for_work()));
    let permitted = permitted.await?.map_err(Error::from_box)?;
    let (listener, bound) = open(config, &permitted.session, &permitted.target)?;
    client.grant(&bound).await?;

    let expected = Expected {
        judge,
        request,
        peers: permitted.target,
    };
    // The listener goes with this future: one peer, and it is closed.
    let accepting = timeout(config.timeout, expected.accept(listener));
    let accepted = client.watch_open(accepting).await?;
    let (peer, addr) = accepted.map_err(|source| BindError::TimedOut {
        timeout: config.timeout,
        source,
    })??;
    client.grant(&addr.into()).await?;
    Ok(peer)
}

/// Listens for `peers`; gives also what the client is to be told.
fn open(
    config: &Config,
    session: &Session,
    peers: &Pinned,
) -> Result<(TcpAcceptor, Target), BindError> {
    let way = config.egress.way(session);
    let listen_addr = |peer: &SocketAddr| config.listen.towards(peer.ip(), session, &way);
    let ListenAddr { local, told } = peers
        .addrs()
        .iter()
        .filter_map(listen_addr)
        .find(|addr| can_be_said(addr, session))
        .ok_or(BindError::NoAddress)?;
    let failed = |source| BindError::Listen {
        ip: local.ip(),
        source,
    };
    let keepalive = way.keepalive(config.keepalive);
    let open = |addr| server::open(addr, keepalive, |domain, ty| way.listener(domain, ty));
    let listener = config.listen.open(local, open).map_err(failed)?;
    let bound = Target::new(told, listener.local_addr().port());
    Ok((listener, bound))
}

/// SOCKS4 has room for IPv4 alone. What it says instead, 0.0.0.0, means the
/// address of the proxy, as the client knows it.
fn can_be_said(addr: &ListenAddr, session: &Session) -> bool {
    let reached = session.local_addr.map(|addr| addr.ip());
    !session.is_socks4() || addr.told.is_ipv4() || reached == Some(addr.told)
}
