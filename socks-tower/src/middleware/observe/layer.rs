use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{Observe, Observer};

/// Tells an [`Observer`] of sessions. See the [module's page](crate::middleware::observe).
#[derive(Clone)]
pub struct ObserveLayer {
    observer: Arc<dyn Observer>,
}

impl ObserveLayer {
    /// Tells `observer` of all sessions of the stack. One that others hold too
    /// comes in an [`Arc`].
    #[must_use]
    pub fn new(observer: impl Observer) -> Self {
        Self {
            observer: Arc::new(observer),
        }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            observer: Arc::clone(&self.observer),
            inner,
        }
    }
}

impl fmt::Debug for ObserveLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveLayer").finish_non_exhaustive()
    }
}
