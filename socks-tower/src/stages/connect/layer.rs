use std::time::Duration;

use tower_layer::Layer;

use super::Connect;
use crate::session::{Connector, Request};

/// Reaches targets by the connector `C`. See the [module's page](crate::stages::connect).
#[derive(Clone, Copy, Debug)]
pub struct ConnectLayer<C> {
    connector: C,
    timeout: Option<Duration>,
}

impl<C> ConnectLayer<C> {
    /// Connects by `connector`.
    pub fn new(connector: C) -> Self
    where
        C: Connector<Request>,
    {
        Self {
            connector,
            timeout: None,
        }
    }

    /// Bounds all that the connector takes, the wait until it is ready included:
    /// what tower's `Timeout` does not, and in whatever order the layers around
    /// it stand. The client hears 06, TTL expired.
    ///
    /// Unless set, what stands around the connector decides; in the end, the
    /// system.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<C: Clone, S> Layer<S> for ConnectLayer<C> {
    type Service = Connect<C, S>;

    fn layer(&self, inner: S) -> Connect<C, S> {
        Connect {
            connector: self.connector.clone(),
            timeout: self.timeout,
            inner,
        }
    }
}
