//! What each command comes to in a ready-made proxy.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use socks_core::v5::Command;
use tower::timeout::{Timeout, TimeoutLayer};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    session::{
        AnyConnector, AnyWork, Authorizer, Connector, Error, Pinned, Request, Requested, Resolver,
        Stream, Transfer, always_ready,
    },
    stages::{
        bind::BindLayer,
        connect::{Connect, ConnectFuture},
        listen_addrs::ListenAddrs,
        lookup::TorResolve,
        relay::{Relay, RelayFuture},
        udp::UdpAssociate,
    },
    works::{
        authorize::{Authorize, AuthorizeLayer, Permit},
        egress::Egress,
        resolve::{Resolve, ResolveLayer},
    },
};
#[cfg(feature = "reverse-lookup")]
use crate::{
    stages::lookup::TorResolvePtr,
    works::resolve::{ReverseResolver, SystemResolver},
};

/// What is asked about peers and destinations: resolver and rules.
type Judge<A, R> = Timeout<Resolve<R, Authorize<A, Permit>>>;

/// What is served besides CONNECT.
#[derive(Clone, Debug, Default)]
pub(super) struct Commands {
    pub(super) served: Vec<Command>,
    pub(super) listen: ListenAddrs,
    pub(super) egress: Egress,
    pub(super) upstream: Option<Upstream>,
}

/// Another proxy, which BIND and UDP go through, and who judges what they ask for.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) judge: AnyWork<Request>,
    pub(super) connector: AnyConnector,
}

/// CONNECT by the connector `D`, and whatever else is served.
///
/// Not a `ByCommand`: what is served is not known to the type, and a CONNECT
/// costs nothing for it.
#[derive(Clone, Debug)]
pub(super) struct Ends<A, R, D> {
    connect: Connect<D, Relay>,
    /// None, as a rule: all stages are cloned for each session.
    others: Option<Box<Others<A, R>>>,
}

#[derive(Clone, Debug)]
struct Others<A, R> {
    commands: Commands,
    within: Duration,
    judge: Judge<A, R>,
    #[cfg(feature = "reverse-lookup")]
    names: ReverseResolver,
    relay: Relay,
}

impl<A: Authorizer<Pinned>, R: Resolver, D> Ends<A, R, D> {
    pub(super) fn new(
        connect: Connect<D, Relay>,
        commands: &Commands,
        resolver: &R,
        authorizer: &A,
        within: Duration,
        relay: &Relay,
    ) -> Self {
        let others = (!commands.served.is_empty()).then(|| {
            let authorize = AuthorizeLayer::new(authorizer.clone()).layer(Permit::new());
            let judge = ResolveLayer::new(resolver.clone()).layer(authorize);
            Box::new(Others {
                commands: commands.clone(),
                within,
                judge: TimeoutLayer::new(within).layer(judge),
                #[cfg(feature = "reverse-lookup")]
                names: SystemResolver::new().reverse(),
                relay: relay.clone(),
            })
        });
        Self { connect, others }
    }
}

type BoxSession = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>;

impl<A, R> Others<A, R>
where
    A: Authorizer<Pinned>,
    R: Resolver,
{
    /// Serves one of the commands that it serves.
    fn serve<Io: Stream>(&self, requested: Requested<Io>) -> BoxSession {
        let judge = self.judge.clone();
        let listen = || self.commands.listen.clone();
        let egress = || self.commands.egress.clone();
        let upstream = self.commands.upstream.clone();
        let through = |connector| TimeoutLayer::new(self.within).layer(connector);
        match (requested.request.command, upstream) {
            (Command::BIND, Some(Upstream { judge, connector })) => {
                let bind = BindLayer::through(judge, through(connector));
                Box::pin(bind.layer(self.relay.clone()).call(requested))
            }
            (Command::UDP_ASSOCIATE, Some(Upstream { judge, connector })) => {
                let mut udp = UdpAssociate::through(judge, through(connector))
                    .with_listen_addrs(listen())
                    .with_egress(egress());
                Box::pin(udp.call(requested))
            }
            (Command::BIND, None) => {
                let bind = BindLayer::new(judge)
                    .with_listen_addrs(listen())
                    .with_egress(egress());
                Box::pin(bind.layer(self.relay.clone()).call(requested))
            }
            (Command::UDP_ASSOCIATE, None) => {
                let mut udp = UdpAssociate::new(judge)
                    .with_listen_addrs(listen())
                    .with_egress(egress());
                Box::pin(udp.call(requested))
            }
            #[cfg(feature = "reverse-lookup")]
            (Command::RESOLVE_PTR, _) => {
                let mut reverse = TorResolvePtr::new(judge, self.names.clone());
                Box::pin(reverse.call(requested))
            }
            _ => Box::pin(TorResolve::new(judge).call(requested)),
        }
    }
}

impl<Io, A, R, D> Service<Requested<Io>> for Ends<A, R, D>
where
    Io: Stream,
    A: Authorizer<Pinned>,
    R: Resolver,
    D: Connector<Request>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = EndsFuture<Io, D::Io>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let command = requested.request.command;
        let others = self.others.as_ref();
        let end = match others.filter(|others| others.commands.served.contains(&command)) {
            Some(others) => End::Other {
                other: others.serve(requested),
            },
            // Which refuses what it does not know.
            None => End::Connect {
                connect: self.connect.call(requested),
            },
        };
        EndsFuture { end }
    }
}

pin_project! {
    /// The future of what a command comes to in [`Socks`](crate::Socks).
    #[must_use = "futures do nothing unless polled"]
    pub struct EndsFuture<Io, Up> {
        #[pin]
        end: End<ConnectFuture<RelayFuture<Io, Up>>>,
    }
}

pin_project! {
    #[project = EndProjection]
    enum End<C> {
        Connect { #[pin] connect: C },
        Other { other: BoxSession },
    }
}

impl<Io: Stream, Up: Stream> Future for EndsFuture<Io, Up> {
    type Output = Result<Transfer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().end.project() {
            EndProjection::Connect { connect } => connect.poll(cx),
            EndProjection::Other { other } => other.as_mut().poll(cx),
        }
    }
}

impl<Io, Up> fmt::Debug for EndsFuture<Io, Up> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndsFuture(..)")
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn a_tunnel_of_connect_carries_nothing_for_the_other_commands() {
        type Connecting = ConnectFuture<RelayFuture<TcpStream, TcpStream>>;
        let room = size_of::<EndsFuture<TcpStream, TcpStream>>();
        assert!(room <= size_of::<Connecting>() + 8, "{room} bytes");
    }
}
