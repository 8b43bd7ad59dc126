//! What a stage is, and the future that all stages share.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::session::{BoxError, Error};

/// A service that a session can go on to. `T` is what it takes: [`Accepted`],
/// [`Greeted`], [`Requested`] or [`Connected`].
///
/// It is a `Service<T>` with its bounds said once, and holds for every service
/// that meets them.
///
/// [`Accepted`]: crate::Accepted
/// [`Greeted`]: crate::Greeted
/// [`Requested`]: crate::Requested
/// [`Connected`]: crate::Connected
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand here: it does not take `{T}`",
    label = "the layer before it hands on `{T}`, which this does not take",
    note = "the order is HandshakeLayer, AuthenticateLayer, ConnectLayer, Relay",
    note = "a stage is also `Clone + Send + 'static`, its future `Send + 'static`, its error `Into<BoxError>`"
)]
pub trait Stage<T>:
    Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static
{
}

#[diagnostic::do_not_recommend]
impl<T, S> Stage<T> for S where
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static
{
}

pin_project! {
    /// The future of a stage: its own part in a box, which is freed when that
    /// is done; from then on, the next stage's future and nothing else.
    ///
    /// So the task of a session that is at its relay is no larger than the
    /// relay's future, however deep the stack.
    #[must_use = "futures do nothing unless polled"]
    pub struct StageFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Own { own: Pin<Box<dyn Future<Output = Result<F, Error>> + Send>> },
        Next { #[pin] next: F },
    }
}

impl<F> StageFuture<F> {
    /// Runs `own`, then readies `next` and calls it with what `own` gave.
    pub fn new<T, S, O>(own: O, next: S) -> Self
    where
        O: Future<Output = Result<T, Error>> + Send + 'static,
        S: Stage<T, Future = F>,
        T: Send + 'static,
        F: 'static,
    {
        let part = Part::Own { own };
        Self::boxed(OwnPart { part, next })
    }

    /// Is `next`, with no part of its own before it.
    #[cfg(any(feature = "http-forward", feature = "proxy-protocol"))]
    pub(crate) fn next(next: F) -> Self {
        Self {
            state: State::Next { next },
        }
    }

    /// Runs `own`, which gives the future to go on with.
    pub(crate) fn boxed(own: impl Future<Output = Result<F, Error>> + Send + 'static) -> Self {
        let own = Box::pin(own);
        Self {
            state: State::Own { own },
        }
    }
}

pin_project! {
    /// Runs a stage's own part and calls the next stage.
    ///
    /// By hand: an async block would keep room for `own` twice, as what it
    /// captured and as what it awaits, and this is what each connection
    /// allocates for each stage.
    struct OwnPart<O, T, S> {
        #[pin]
        part: Part<O, T>,
        next: S,
    }
}

pin_project! {
    #[project = PartProjection]
    enum Part<O, T> {
        Own { #[pin] own: O },
        Done { state: Option<T> },
    }
}

impl<O, T, S> Future for OwnPart<O, T, S>
where
    O: Future<Output = Result<T, Error>>,
    S: Stage<T>,
{
    type Output = Result<S::Future, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.part.as_mut().project() {
            PartProjection::Own { own } => {
                let state = ready!(own.poll(cx))?;
                // Nearly all are ready, and the state need not be put down.
                match this.next.poll_ready(cx) {
                    Poll::Ready(ready) => {
                        ready.map_err(Error::passed)?;
                        Poll::Ready(Ok(this.next.call(state)))
                    }
                    Poll::Pending => {
                        let state = Some(state);
                        this.part.set(Part::Done { state });
                        Poll::Pending
                    }
                }
            }
            PartProjection::Done { state } => poll_next(this.next, state, cx),
        }
    }
}

/// Readies `next` and calls it with `state`, which is gone from then on.
fn poll_next<T, S: Stage<T>>(
    next: &mut S,
    state: &mut Option<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<S::Future, Error>> {
    let ready = ready!(next.poll_ready(cx));
    ready.map_err(Error::passed)?;
    match state.take() {
        Some(state) => Poll::Ready(Ok(next.call(state))),
        // Polled again after it was done.
        None => Poll::Pending,
    }
}

/// Readies `next` and calls it.
#[cfg(feature = "http-connect")]
pub(crate) fn go_on<T, S: Stage<T>>(
    mut next: S,
    state: T,
) -> impl Future<Output = Result<S::Future, Error>> {
    let mut state = Some(state);
    std::future::poll_fn(move |cx| poll_next(&mut next, &mut state, cx))
}

impl<F, R, E> Future for StageFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Error>;

    // Of a tunnel nothing is left but `next`, whose every wake-up comes by here.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if matches!(*state, State::Own { .. }) {
            ready!(state.as_mut().poll_own(cx))?;
        }
        match state.project() {
            StateProjection::Next { next } => next.poll(cx).map_err(Error::passed),
            StateProjection::Own { .. } => Poll::Pending,
        }
    }
}

impl<F> State<F> {
    /// Ready once it is the next stage's future.
    fn poll_own(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let StateProjection::Own { own } = self.as_mut().project() {
            let next = ready!(own.as_mut().poll(cx))?;
            self.set(Self::Next { next });
        }
        Poll::Ready(Ok(()))
    }
}

impl<F> fmt::Debug for StageFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StageFuture(..)")
    }
}

/// Readiness of a service that can always be called.
macro_rules! always_ready {
    () => {
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
    };
}
pub(crate) use always_ready;

/// Names the future of a service, so that what is in it can change.
///
/// `Name<T> -> Output = Inner`, for an `Inner` that is a future whatever `T` is, or with
/// `T: Bound`, whichever of those it is;
/// `Name<F> = Inner`, for one that is if `F` is.
macro_rules! opaque_future {
    (
        $(#[$doc:meta])*
        $name:ident<$($param:ident $(: $bound:path)?),*> -> $output:ty = $inner:ty
    ) => {
        opaque_future!(@struct $(#[$doc])* $name<$($param $(: $bound)?),*> = $inner);

        impl<$($param $(: $bound)?),*> std::future::Future for $name<$($param),*> {
            type Output = $output;

            opaque_future!(@poll);
        }
    };

    ($(#[$doc:meta])* $name:ident<$($param:ident),*> = $inner:ty) => {
        opaque_future!(@struct $(#[$doc])* $name<$($param),*> = $inner);

        impl<$($param),*> std::future::Future for $name<$($param),*>
        where
            $inner: std::future::Future,
        {
            type Output = <$inner as std::future::Future>::Output;

            opaque_future!(@poll);
        }
    };

    (@struct $(#[$doc:meta])* $name:ident<$($param:ident $(: $bound:path)?),*> = $inner:ty) => {
        pin_project_lite::pin_project! {
            $(#[$doc])*
            #[must_use = "futures do nothing unless polled"]
            pub struct $name<$($param),*>
            where
                $($($param: $bound,)?)*
            {
                #[pin]
                inner: $inner,
            }
        }

        impl<$($param $(: $bound)?),*> $name<$($param),*> {
            pub(crate) fn new(inner: $inner) -> Self {
                Self { inner }
            }
        }

        impl<$($param $(: $bound)?),*> std::fmt::Debug for $name<$($param),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };

    (@poll) => {
        #[inline]
        fn poll(
            self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Self::Output> {
            self.project().inner.poll(cx)
        }
    };
}
pub(crate) use opaque_future;

/// A boxed future of a work.
pub(crate) type BoxWork<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
