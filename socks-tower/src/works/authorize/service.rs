use tower_service::Service;

use crate::session::{
    Authorizer, BoxError, BoxWork, Error, ErrorKind, Request, Work, always_ready, opaque_future,
    trace, watch::StageKind,
};

/// Asks `A`, then calls `S` with what it let through. See the
/// [module's page](crate::works::authorize).
#[derive(Clone, Copy, Debug)]
pub struct Authorize<A, S> {
    pub(super) authorizer: A,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Authorize`].
    AuthorizeFuture<T> -> Result<T, BoxError> = BoxWork<T>
}

impl<A, S, T> Service<Request<T>> for Authorize<A, S>
where
    T: Send + 'static,
    A: Authorizer<T>,
    S: Work<Request<T>>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AuthorizeFuture<S::Response>;

    always_ready!();

    fn call(&mut self, request: Request<T>) -> Self::Future {
        let Self { authorizer, inner } = self.clone();
        AuthorizeFuture::new(Box::pin(async move {
            let stage = trace::stage(StageKind::Authorize, &request.session);
            let verdict = stage.run(authorizer.run(request)).await;
            let request = verdict.map_err(|error| Error::of_work(ErrorKind::Authorize, error))?;
            inner.run(request).await
        }))
    }
}
