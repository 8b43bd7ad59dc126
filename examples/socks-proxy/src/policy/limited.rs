//! Keeps sessions to the limits that are about them, behind authentication.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use socks_tower::{
    Error, HasSession, Requested, Stage, Stream, Transfer, middleware::redis::RedisLimitsLayer,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::limits::Counting;

#[derive(Clone)]
pub struct LimitedLayer {
    /// None if this node counts alone.
    together: Option<RedisLimitsLayer>,
    limits: Arc<[Counting]>,
}

impl LimitedLayer {
    pub fn new(limits: Arc<[Counting]>, together: Option<RedisLimitsLayer>) -> Self {
        Self { together, limits }
    }
}

impl<S> Layer<S> for LimitedLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            together: self.together.clone(),
            limits: Arc::clone(&self.limits),
            begin: 0,
            inner,
        }
    }
}

/// Asks by those of all nodes, goes through the limits from one on, and then to `S`.
#[derive(Clone)]
pub struct Limited<S> {
    together: Option<RedisLimitsLayer>,
    limits: Arc<[Counting]>,
    begin: usize,
    inner: S,
}

/// A session that a limit is about pays for it with a box.
type Boxed = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>;

impl<Io, S> Service<Requested<Io>> for Limited<S>
where
    Io: Stream,
    S: Stage<Requested<Io>, Response = Transfer, Error = Error>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = Either<S::Future, Boxed>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        if let Some(together) = &self.together {
            let within = Self {
                together: None,
                ..self.clone()
            };
            return Either::Right(Box::pin(together.layer(within).oneshot(requested)));
        }
        let mut rest = self.limits.iter().enumerate().skip(self.begin);
        let next = rest.find(|(_, limit)| limit.is_about(requested.session()));
        let Some((number, limit)) = next else {
            return Either::Left(self.inner.call(requested));
        };
        let within = Self {
            begin: number.saturating_add(1),
            ..self.clone()
        };
        let limited = ServiceBuilder::new()
            .option_layer(limit.connections.clone())
            .option_layer(limit.new.clone())
            .option_layer(limit.quota.clone())
            .option_layer(limit.bandwidth.clone())
            .service(within);
        Either::Right(Box::pin(limited.oneshot(requested)))
    }
}
