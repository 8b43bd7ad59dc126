use tower_layer::Layer;

use super::service::Authorize;

/// Asks the authorizer `A` first. See the [module's page](crate::works::authorize).
#[derive(Clone, Copy, Debug)]
pub struct AuthorizeLayer<A> {
    authorizer: A,
}

impl<A> AuthorizeLayer<A> {
    /// Asks `authorizer`, an [`Authorizer`](crate::Authorizer) of what comes to
    /// the layer: `Request<Pinned>` inside [`ResolveLayer`](crate::ResolveLayer).
    pub fn new(authorizer: A) -> Self {
        Self { authorizer }
    }
}

impl<A: Clone, S> Layer<S> for AuthorizeLayer<A> {
    type Service = Authorize<A, S>;

    fn layer(&self, inner: S) -> Authorize<A, S> {
        Authorize {
            authorizer: self.authorizer.clone(),
            inner,
        }
    }
}
