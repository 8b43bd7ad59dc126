//! One of two stacks, by what is known of a session when it comes.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::Either;
use socks_tower::{HasSession, Session};
use tower::Service;

type Test = Arc<dyn Fn(&Session) -> bool + Send + Sync>;

/// `A` for those of whom the test says so, `B` for the others.
#[derive(Clone)]
pub struct Choose<A, B> {
    test: Test,
    a: A,
    b: B,
}

impl<A, B> Choose<A, B> {
    pub fn new(test: impl Fn(&Session) -> bool + Send + Sync + 'static, a: A, b: B) -> Self {
        let test = Arc::new(test);
        Self { test, a, b }
    }
}

impl<R, A, B> Service<R> for Choose<A, B>
where
    R: HasSession,
    A: Service<R>,
    B: Service<R, Response = A::Response, Error = A::Error>,
{
    type Response = A::Response;
    type Error = A::Error;
    type Future = Either<A::Future, B::Future>;

    /// Both have to be: nobody knows yet which it will be.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        ready!(self.a.poll_ready(cx))?;
        self.b.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        if (self.test)(request.session()) {
            Either::Left(self.a.call(request))
        } else {
            Either::Right(self.b.call(request))
        }
    }
}
