//! A layer around a connector: no mail, and nothing at all during maintenance.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use socks_tower::{BoxError, Refusal, Request};
use tower::{Layer, Service};

/// Refuses targets with port 25 with 02, and all with 01 while its flag is up.
#[derive(Clone, Debug, Default)]
pub struct GateLayer {
    /// Whether there is maintenance. Clones of the layer share it.
    pub maintenance: Arc<AtomicBool>,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            layer: self.clone(),
            inner,
        }
    }
}

/// The service of [`GateLayer`].
#[derive(Clone, Debug)]
pub struct Gate<S> {
    layer: GateLayer,
    inner: S,
}

impl<S> Service<Request> for Gate<S>
where
    S: Service<Request, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let refusal = if self.layer.maintenance.load(Ordering::Relaxed) {
            Refusal::general_failure("maintenance")
        } else if request.target.port == 25 {
            Refusal::not_allowed("no mail from here")
        } else {
            let served = self.inner.call(request);
            return Box::pin(async { served.await.map_err(Into::into) });
        };
        Box::pin(async { Err(refusal.into()) })
    }
}
