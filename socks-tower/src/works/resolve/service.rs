use std::net::SocketAddr;

use socks_core::{DomainName, Host};
use tokio_util::either::Either;
use tower_service::Service;

use crate::session::{
    BoxError, BoxWork, Error, ErrorKind, Pinned, Request, Resolver, Run, Work, always_ready,
    opaque_future, trace, watch::StageKind,
};

/// Looks names up by `R`, then calls `S`. See the
/// [module's page](crate::works::resolve).
#[derive(Clone, Copy, Debug)]
pub struct Resolve<R, S> {
    pub(super) resolver: R,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Resolve`].
    ResolveFuture<S: Work<Request<Pinned>>> -> Result<S::Response, BoxError> =
        Either<Run<S, Request<Pinned>, S::Future>, BoxWork<S::Response>>
}

/// The lookup went well, and found nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no address")]
struct NoAddress(DomainName);

impl<R, S> Service<Request> for Resolve<R, S>
where
    R: Resolver,
    S: Work<Request<Pinned>>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResolveFuture<S>;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = self.inner.clone();
        if let Some(addr) = request.target.socket_addr() {
            let pinned = request.with_target(addr.into());
            return ResolveFuture::new(Either::Left(Run::new(inner, pinned)));
        }
        let resolver = self.resolver.clone();
        ResolveFuture::new(Either::Right(Box::pin(async move {
            let pinned = pin(resolver, &request).await?;
            inner.run(request.with_target(pinned)).await
        })))
    }
}

/// The addresses of `request.target`.
pub(crate) async fn pin<R>(resolver: R, request: &Request) -> Result<Pinned, Error>
where
    R: Resolver,
{
    match &request.target.host {
        Host::Ip(ip) => Ok(SocketAddr::new(*ip, request.target.port).into()),
        Host::Name(name) => {
            let stage = trace::stage(StageKind::Resolve, &request.session);
            stage.run(look_up(resolver, name, request)).await
        }
    }
}

async fn look_up<R>(resolver: R, name: &DomainName, request: &Request) -> Result<Pinned, Error>
where
    R: Resolver,
{
    let Request {
        session,
        command,
        target,
    } = request;
    let asked = Request::new(session.clone(), *command, name.clone());
    let looked_up = resolver.run(asked).await;
    let addrs = match looked_up {
        Ok(addrs) => addrs.into_iter(),
        Err(error) => return Err(Error::of_work(ErrorKind::Resolve, error)),
    };
    let addrs = addrs.map(|ip| SocketAddr::new(ip, target.port));
    let pinned = Pinned::new(target.clone(), addrs);
    if pinned.addrs().is_empty() {
        return Err(Error::new(ErrorKind::Resolve, NoAddress(name.clone())));
    }
    Ok(pinned)
}
