use std::fmt;

use tower_layer::Layer;

use super::numbers::Numbers;
use crate::middleware::observe::{Observe, ObserveLayer};

/// Counts sessions. See the [module's page](crate::middleware::metrics).
#[derive(Clone)]
pub struct MetricsLayer {
    observe: ObserveLayer,
}

impl MetricsLayer {
    /// Counts for the recorder that is installed by now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            observe: ObserveLayer::new(Numbers::register()),
        }
    }
}

impl Default for MetricsLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        self.observe.layer(inner)
    }
}

impl fmt::Debug for MetricsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer").finish_non_exhaustive()
    }
}
