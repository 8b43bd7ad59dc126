use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use tower_service::Service;

use crate::session::{Pinned, Request, always_ready, opaque_future};

/// The end of a stack that decides and does not connect: it answers with the
/// request that has come this far.
///
/// BIND and UDP ASSOCIATE ask such a stack, a [`Judge`](crate::Judge), about each peer, so that the same
/// resolver and the same rules serve them and CONNECT.
///
/// ```
/// use socks_tower::{AuthorizeLayer, Permit, ResolveLayer, Rules, SystemResolver, TcpConnector};
/// use tower::ServiceBuilder;
///
/// let judged = ServiceBuilder::new()
///     .layer(ResolveLayer::new(SystemResolver::new()))
///     .layer(AuthorizeLayer::new(Rules::new()));
///
/// let connector = judged.clone().service(TcpConnector::new()); // for CONNECT
/// let permit = judged.service(Permit::new());                  // for BIND and UDP ASSOCIATE
/// # fn check(_: impl socks_tower::Judge) {}
/// # check(permit);
/// # let _ = connector;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Permit {}

impl Permit {
    /// Answers with whatever it is asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

opaque_future! {
    /// The future of [`Permit`].
    PermitFuture<> -> Result<Request<Pinned>, Infallible> = Ready<Result<Request<Pinned>, Infallible>>
}

impl Service<Request<Pinned>> for Permit {
    type Response = Request<Pinned>;
    type Error = Infallible;
    type Future = PermitFuture;

    always_ready!();

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        PermitFuture::new(ready(Ok(request)))
    }
}
