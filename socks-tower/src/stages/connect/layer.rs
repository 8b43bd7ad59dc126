use tower_layer::Layer;

use super::Connect;

/// Reaches targets by the connector `C`. See the [module's page](crate::stages::connect).
#[derive(Clone, Copy, Debug)]
pub struct ConnectLayer<C> {
    connector: C,
}

impl<C> ConnectLayer<C> {
    /// Connects by `connector`.
    pub fn new(connector: C) -> Self {
        Self { connector }
    }
}

impl<C: Clone, S> Layer<S> for ConnectLayer<C> {
    type Service = Connect<C, S>;

    fn layer(&self, inner: S) -> Connect<C, S> {
        Connect {
            connector: self.connector.clone(),
            inner,
        }
    }
}
