use tower_layer::Layer;

use super::{Register, Sessions};

/// Enters sessions into a list. See the [module's page](crate::middleware::sessions).
#[derive(Clone, Debug)]
pub struct RegisterLayer {
    sessions: Sessions,
}

impl RegisterLayer {
    /// Enters sessions into `sessions`. Several stacks may share a list.
    #[must_use]
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl<S> Layer<S> for RegisterLayer {
    type Service = Register<S>;

    fn layer(&self, inner: S) -> Register<S> {
        Register {
            sessions: self.sessions.clone(),
            inner,
        }
    }
}
