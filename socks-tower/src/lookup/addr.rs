use std::net::SocketAddr;

use socks_core::{Target, v5::Command};
use tower_service::Service;

use super::{BoxAnswer, NoAnswer, answer, is_socks4, permitted};
use crate::{
    Error, Pinned, Request, Requested, Stream, Transfer, Work,
    stage::{always_ready, opaque_future},
};

/// Answers RESOLVE with the first address that the policy `P` leaves. See the
/// [module's page](crate::lookup).
#[derive(Clone, Copy, Debug)]
pub struct LookupAddr<P> {
    policy: P,
}

impl<P> LookupAddr<P> {
    /// Looks up by `policy`, a `Service<Request, Response = Request<Pinned>>`:
    /// a stack that ends with [`Permit`](crate::Permit).
    pub fn new(policy: P) -> Self {
        Self { policy }
    }
}

opaque_future! {
    /// The future of [`LookupAddr`].
    LookupAddrFuture<> = BoxAnswer
}

impl<Io, P> Service<Requested<Io>> for LookupAddr<P>
where
    Io: Stream,
    P: Work<Request, Response = Request<Pinned>>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = LookupAddrFuture;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let policy = self.policy.clone();
        let find = |request| find(policy, request);
        LookupAddrFuture::new(Box::pin(answer(Command::RESOLVE, requested, find)))
    }
}

async fn find<P>(policy: P, request: Request) -> Result<Target, Error>
where
    P: Work<Request, Response = Request<Pinned>>,
{
    let v4_only = is_socks4(&request.session);
    let pinned = permitted(policy, request).await?;
    let sayable = |addr: &&SocketAddr| addr.is_ipv4() || !v4_only;
    match pinned.addrs().iter().find(sayable) {
        Some(addr) => Ok(Target::new(addr.ip(), 0)),
        None => Err(NoAnswer::NoAddress(pinned.target().clone()).into()),
    }
}
