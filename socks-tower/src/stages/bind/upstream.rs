//! BIND through another proxy: that one listens.

use std::{sync::Arc, time::Duration};

use socks_core::{Host, Target, v5::Command};
use tower_layer::Layer;
use tower_service::Service;

use super::{BindError, BindFuture, peer::Expected, service::connected};
use crate::{
    session::{
        AnyConnector, BoxStream, Connected, Connector, Error, ErrorKind, Inbound, Judge, Outbound,
        Request, Requested, Session, Stage, StageFuture, Stream, Work, always_ready, timeout,
        trace, watch::StageKind,
    },
    works::upstream::accept,
};

/// Has another proxy listen for peers that the judge `J` permits:
/// [`BindLayer::through`](crate::BindLayer::through).
#[derive(Clone, Debug)]
pub struct BindThroughLayer<J> {
    judge: J,
    config: Arc<Config>,
}

#[derive(Clone, Debug)]
struct Config {
    connector: AnyConnector,
    timeout: Duration,
}

impl<J> BindThroughLayer<J> {
    pub(super) fn new(judge: J, connector: impl Connector<Request>, timeout: Duration) -> Self {
        let connector = AnyConnector::new(connector);
        let config = Arc::new(Config { connector, timeout });
        Self { judge, config }
    }

    /// How long to wait for the peer, once the other proxy listens.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.config).timeout = timeout;
        self
    }
}

impl<J: Clone, S> Layer<S> for BindThroughLayer<J> {
    type Service = BindThrough<J, S>;

    fn layer(&self, inner: S) -> BindThrough<J, S> {
        BindThrough {
            judge: self.judge.clone(),
            config: Arc::clone(&self.config),
            inner,
        }
    }
}

/// Has another proxy wait for a peer that `J` permits and replies twice, then goes on to
/// `S`. See the [module's page](crate::stages::bind).
#[derive(Clone, Debug)]
pub struct BindThrough<J, S> {
    judge: J,
    config: Arc<Config>,
    inner: S,
}

impl<Io, J, S> Service<Requested<Io>> for BindThrough<J, S>
where
    Io: Stream,
    J: Judge,
    S: Stage<Connected<Io, BoxStream>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = BindFuture<S::Future>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let own = bind(self.judge.clone(), Arc::clone(&self.config), requested);
        BindFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn bind<Io: Stream, J: Judge>(
    judge: J,
    config: Arc<Config>,
    requested: Requested<Io>,
) -> Result<Connected<Io, BoxStream>, Error> {
    let Requested {
        mut client,
        request,
    } = requested;
    request.session.watch.requested(&request);
    let stage = trace::stage(StageKind::Bind, &request.session);
    let served = stage.run(serve(judge, &config, &mut client, &request));
    let served = served.await;
    connected(client, request, served).await
}

/// Both replies; the second, too, may be a refusal.
async fn serve<Io: Stream, J: Judge>(
    judge: J,
    config: &Config,
    client: &mut Inbound<Io>,
    request: &Request,
) -> Result<Outbound<BoxStream>, Error> {
    if request.command != Command::BIND {
        return Err(Error::bare(ErrorKind::Command));
    }
    let permitted = client.watch_open(judge.clone().run(request.for_work()));
    let Request {
        session,
        target: peers,
        ..
    } = permitted.await?.map_err(Error::from_box)?;
    // It is told one alone.
    let addr = peers.addrs().first().copied();
    let peer = addr.map_or_else(|| peers.target().clone(), Target::from);
    let asked = Request::new(session, Command::BIND, peer);
    let asking = client.watch_open(config.connector.clone().run(asked));
    let asked = asking.await?;
    let mut upstream = asked.map_err(|error| Error::of_work(ErrorKind::Connect, error))?;
    let Some(bound) = upstream.bound().cloned() else {
        // It has not looked at the command.
        return Err(Error::bare(ErrorKind::Command));
    };
    if !can_be_said(&bound, &request.session) {
        return Err(BindError::NoAddress.into());
    }
    client.grant(&bound).await?;

    let accepting = timeout(config.timeout, accept(&mut upstream));
    let accepted = client.watch_open(accepting).await?;
    let peer = accepted.map_err(|source| BindError::TimedOut {
        timeout: config.timeout,
        source,
    })??;
    // By a name, or not at all, it says nothing that could be compared.
    let addr = peer
        .socket_addr()
        .filter(|addr| !addr.ip().is_unspecified());
    if let Some(addr) = addr.filter(|_| !peers.addrs().is_empty()) {
        let mut expected = Expected {
            judge,
            request,
            peers,
        };
        expected.ask_about(addr).await?;
    }
    client.grant(&peer).await?;
    Ok(upstream)
}

/// SOCKS4 has room for IPv4 alone, and what it says instead would mean our address.
fn can_be_said(bound: &Target, session: &Session) -> bool {
    !session.is_socks4() || matches!(bound.host, Host::Ip(ip) if ip.to_canonical().is_ipv4())
}
