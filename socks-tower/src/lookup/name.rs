use std::net::IpAddr;

use socks_core::{DomainName, Target, v5::Command};
use tower_service::Service;

use super::{BoxAnswer, NoAnswer, answer, is_socks4, permitted};
use crate::{
    Error, ErrorKind, Pinned, Request, Requested, Stream, Transfer, Work,
    stage::{always_ready, opaque_future},
};

/// Answers RESOLVE_PTR with the first name that `R` finds, if the policy `P`
/// permits the address. See the [module's page](crate::lookup).
#[derive(Clone, Copy, Debug)]
pub struct LookupName<P, R> {
    policy: P,
    resolver: R,
}

impl<P, R> LookupName<P, R> {
    /// Asks `policy` about the address, a `Service<Request, Response =
    /// Request<Pinned>>`, and `resolver` for its names, a `Service<IpAddr,
    /// Response: IntoIterator<Item = DomainName>>`.
    pub fn new(policy: P, resolver: R) -> Self {
        Self { policy, resolver }
    }
}

opaque_future! {
    /// The future of [`LookupName`].
    LookupNameFuture<> = BoxAnswer
}

impl<Io, P, R> Service<Requested<Io>> for LookupName<P, R>
where
    Io: Stream,
    P: Work<Request, Response = Request<Pinned>>,
    R: Work<IpAddr, Response: IntoIterator<Item = DomainName>>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = LookupNameFuture;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let Self { policy, resolver } = self.clone();
        let find = |request| find(policy, resolver, request);
        LookupNameFuture::new(Box::pin(answer(Command::RESOLVE_PTR, requested, find)))
    }
}

async fn find<P, R>(policy: P, resolver: R, request: Request) -> Result<Target, Error>
where
    P: Work<Request, Response = Request<Pinned>>,
    R: Work<IpAddr, Response: IntoIterator<Item = DomainName>>,
{
    // Its replies have no room for a name.
    if is_socks4(&request.session) {
        return Err(Error::bare(ErrorKind::Command));
    }
    if request.target.socket_addr().is_none() {
        return Err(NoAnswer::NotAnAddress(request.target).into());
    }
    let pinned = permitted(policy, request).await?;
    let Some(addr) = pinned.addrs().first() else {
        return Err(NoAnswer::NoAddress(pinned.target().clone()).into());
    };
    let looked_up = resolver.run(addr.ip()).await;
    let names = looked_up.map_err(|error| Error::of_work(ErrorKind::Resolve, error))?;
    match names.into_iter().next() {
        Some(name) => Ok(Target::new(name, 0)),
        None => Err(NoAnswer::NoName(addr.ip()).into()),
    }
}
