use std::net::{IpAddr, SocketAddr};

use socks_core::{DomainName, Target, v5::Command};
use tower_service::Service;

use super::{BoxAnswer, NoAnswer, answer, permitted};
use crate::session::{
    Error, ErrorKind, Judge, Request, Requested, Stream, Transfer, Work, always_ready,
    opaque_future,
};

/// Answers RESOLVE_PTR with the first name that `R` finds, if the judge `J`
/// permits the address. See the [module's page](crate::stages::lookup).
#[derive(Clone, Copy, Debug)]
pub struct TorResolvePtr<J, R> {
    judge: J,
    resolver: R,
}

impl<J, R> TorResolvePtr<J, R>
where
    J: Judge,
    R: Work<Request<IpAddr>, Response: IntoIterator<Item = DomainName>>,
{
    /// Asks `judge` about the address, and `resolver` for its names, a `Service<Request<IpAddr>,
    /// Response: IntoIterator<Item = DomainName>>`.
    pub fn new(judge: J, resolver: R) -> Self {
        Self { judge, resolver }
    }
}

opaque_future! {
    /// The future of [`TorResolvePtr`].
    TorResolvePtrFuture<> -> Result<Transfer, Error> = BoxAnswer
}

impl<Io, J, R> Service<Requested<Io>> for TorResolvePtr<J, R>
where
    Io: Stream,
    J: Judge,
    R: Work<Request<IpAddr>, Response: IntoIterator<Item = DomainName>>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = TorResolvePtrFuture;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let Self { judge, resolver } = self.clone();
        let find = |request| find(judge, resolver, request);
        TorResolvePtrFuture::new(Box::pin(answer(Command::RESOLVE_PTR, requested, find)))
    }
}

async fn find<J, R>(judge: J, resolver: R, request: Request) -> Result<Target, Error>
where
    J: Judge,
    R: Work<Request<IpAddr>, Response: IntoIterator<Item = DomainName>>,
{
    // Its replies have no room for a name.
    if request.session.is_socks4() {
        return Err(Error::bare(ErrorKind::Command));
    }
    if request.target.socket_addr().is_none() {
        return Err(NoAnswer::NotAnAddress(request.target).into());
    }
    let permitted = permitted(judge, request).await?;
    let Some(ip) = permitted.target.addrs().first().map(SocketAddr::ip) else {
        return Err(NoAnswer::NoAddress(permitted.target.target().clone()).into());
    };
    let looked_up = resolver.run(permitted.with_target(ip)).await;
    let names = looked_up.map_err(|error| Error::of_work(ErrorKind::Resolve, error))?;
    match names.into_iter().next() {
        Some(name) => Ok(Target::new(name, 0)),
        None => Err(NoAnswer::NoName(ip).into()),
    }
}
