use tower_layer::Layer;

use super::Resolve;
use crate::session::Resolver;

/// Looks names up by the resolver `R`. See the [module's page](crate::works::resolve).
#[derive(Clone, Copy, Debug)]
pub struct ResolveLayer<R> {
    resolver: R,
}

impl<R: Resolver> ResolveLayer<R> {
    /// Asks `resolver` for the addresses of names.
    pub fn new(resolver: R) -> Self {
        Self { resolver }
    }
}

impl<R: Clone, S> Layer<S> for ResolveLayer<R> {
    type Service = Resolve<R, S>;

    fn layer(&self, inner: S) -> Resolve<R, S> {
        Resolve {
            resolver: self.resolver.clone(),
            inner,
        }
    }
}
