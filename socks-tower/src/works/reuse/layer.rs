use tower_layer::Layer;

use super::Reuse;

/// Lets plain HTTP requests use a connection again. See the
/// [module's page](crate::works::reuse).
#[derive(Clone, Copy, Debug, Default)]
pub struct ReuseLayer {}

impl ReuseLayer {
    /// Each client's last connection is kept, for as long as that client is here.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C> Layer<C> for ReuseLayer {
    type Service = Reuse<C>;

    fn layer(&self, inner: C) -> Reuse<C> {
        Reuse { inner }
    }
}
