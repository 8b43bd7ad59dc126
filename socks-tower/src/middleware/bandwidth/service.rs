use std::task::{Context, Poll};

use tower_service::Service;

use super::BandwidthLayer;
use crate::session::State;

/// Limits the bytes per second of the sessions that pass on to `S`. See the
/// [module's page](crate::middleware::bandwidth).
#[derive(Clone, Debug)]
pub struct Bandwidth<S> {
    pub(super) config: BandwidthLayer,
    pub(super) inner: S,
}

impl<T: State, S: Service<T>> Service<T> for Bandwidth<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut state: T) -> S::Future {
        self.config.apply(state.session_mut());
        self.inner.call(state)
    }
}
