use std::task::{Context, Poll};

use tower_service::Service;

use super::TapLayer;
use crate::session::Requested;

/// Gives the sessions that pass on to `S` a tap. See the
/// [module's page](crate::middleware::tap).
#[derive(Clone, Debug)]
pub struct TapSessions<S> {
    pub(super) layer: TapLayer,
    pub(super) inner: S,
}

impl<Io, S: Service<Requested<Io>>> Service<Requested<Io>> for TapSessions<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut requested: Requested<Io>) -> S::Future {
        self.layer.apply(&mut requested.request);
        self.inner.call(requested)
    }
}
