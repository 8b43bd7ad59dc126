use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::TapSessions;
use crate::session::{Request, policy::Tap};

/// Gives sessions a tap. See the [module's page](crate::middleware::tap).
#[derive(Clone)]
pub struct TapLayer {
    add: Arc<dyn Fn(&mut Request) + Send + Sync>,
}

impl TapLayer {
    /// Asks `make` for the tap of each session, by what its client wants; those for
    /// which it says `None` have none.
    #[must_use]
    pub fn new<T: Tap>(make: impl Fn(&Request) -> Option<T> + Send + Sync + 'static) -> Self {
        Self {
            add: Arc::new(move |request| {
                if let Some(tap) = make(request) {
                    request.session.policy.add_tap(tap);
                }
            }),
        }
    }

    /// Leaves in the session what the relay is to carry out.
    pub(super) fn apply(&self, request: &mut Request) {
        (self.add)(request);
    }
}

impl fmt::Debug for TapLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TapLayer(..)")
    }
}

impl<S> Layer<S> for TapLayer {
    type Service = TapSessions<S>;

    fn layer(&self, inner: S) -> TapSessions<S> {
        TapSessions {
            layer: self.clone(),
            inner,
        }
    }
}
