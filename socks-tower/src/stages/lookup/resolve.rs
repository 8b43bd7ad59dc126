use socks_core::{Target, v5::Command};
use tower_service::Service;

use super::{BoxAnswer, NoAnswer, answer, permitted};
use crate::session::{
    Error, Judge, Request, Requested, Stream, Transfer, always_ready, opaque_future,
};

/// Answers RESOLVE with the first IPv4 address that the judge `J` leaves, or the
/// first IPv6 one if there is no other. See the [module's page](crate::stages::lookup).
#[derive(Clone, Copy, Debug)]
pub struct TorResolve<J> {
    judge: J,
}

impl<J: Judge> TorResolve<J> {
    /// Looks up by `judge`: a stack that ends with [`Permit`](crate::Permit).
    pub fn new(judge: J) -> Self {
        Self { judge }
    }
}

opaque_future! {
    /// The future of [`TorResolve`].
    TorResolveFuture<> -> Result<Transfer, Error> = BoxAnswer
}

impl<Io, J> Service<Requested<Io>> for TorResolve<J>
where
    Io: Stream,
    J: Judge,
{
    type Response = Transfer;
    type Error = Error;
    type Future = TorResolveFuture;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let judge = self.judge.clone();
        let find = |request| find(judge, request);
        TorResolveFuture::new(Box::pin(answer(Command::RESOLVE, requested, find)))
    }
}

async fn find<J>(judge: J, request: Request) -> Result<Target, Error>
where
    J: Judge,
{
    let v4_only = request.session.is_socks4();
    let pinned = permitted(judge, request).await?.target;
    let addrs = || pinned.addrs().iter();
    let first = || addrs().next().filter(|_| !v4_only);
    match addrs().find(|addr| addr.is_ipv4()).or_else(first) {
        Some(addr) => Ok(Target::new(addr.ip(), 0)),
        None => Err(NoAnswer::NoAddress(pinned.target().clone()).into()),
    }
}
