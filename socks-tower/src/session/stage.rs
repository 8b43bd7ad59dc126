//! What a stage is, what a work is, and the future that all stages share.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::session::{BoxError, Error, IntoOutbound, Stream};

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

/// A service that does the work of a stage, and never sees the client's
/// socket: a verifier, a resolver, rules, a connector. Any tower middleware
/// can wrap it, and its errors become replies.
///
/// It is a `Service<R>` with its bounds said once, and holds for every service
/// that meets them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service for `{R}`",
    label = "cannot be called with `{R}`",
    note = "a work is `Service<{R}> + Clone + Send + 'static`, its response and future `Send`, its error `Into<BoxError>`",
    note = "what is not `Clone` (tower's RateLimit) goes behind tower's Buffer"
)]
pub trait Work<R>:
    Service<R, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
    /// Readies the service and calls it once.
    ///
    /// The error is boxed at once: so no foreign error lives across an await,
    /// and a future that runs a work is `Send` whatever its error is.
    fn run(self, request: R) -> impl Future<Output = Result<Self::Response, BoxError>> + Send
    where
        R: Send,
    {
        Run::Readying {
            work: self,
            request: Some(request),
        }
    }
}

pin_project! {
    /// Readies a work and calls it.
    ///
    /// By hand: an async block would keep the work and room for the request
    /// until the answer is there.
    #[project = RunProjection]
    enum Run<S, R, F> {
        Readying { work: S, request: Option<R> },
        Called { #[pin] called: F },
    }
}

impl<S, R> Future for Run<S, R, S::Future>
where
    S: Service<R, Error: Into<BoxError>>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                RunProjection::Readying { work, request } => {
                    ready!(work.poll_ready(cx)).map_err(Into::into)?;
                    // Once it is called, it is readied no more.
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    let called = work.call(request);
                    self.set(Self::Called { called });
                }
                RunProjection::Called { called } => return called.poll(cx).map_err(Into::into),
            }
        }
    }
}

#[diagnostic::do_not_recommend]
impl<R, S> Work<R> for S where
    S: Service<R, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
}

/// A work that answers with a stream to the target.
///
/// It holds for every work whose answer is a [`Stream`] or an
/// [`Outbound`](crate::Outbound).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot connect to a `{R}`",
    label = "this stack hands its connector a `{R}`",
    note = "`TcpConnector` needs addresses: put `ResolveLayer` around it, and rules about addresses inside that",
    note = "a connector is `Clone + Send + 'static` and answers with an `AsyncRead + AsyncWrite` stream, or an `Outbound` of one"
)]
pub trait Connector<R>: Work<R, Response: IntoOutbound<Io = <Self as Connector<R>>::Io>> {
    /// The stream.
    type Io: Stream;
}

#[diagnostic::do_not_recommend]
impl<R, S> Connector<R> for S
where
    S: Work<R, Response: IntoOutbound>,
{
    type Io = <S::Response as IntoOutbound>::Io;
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
    #[cfg(feature = "proxy-protocol")]
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Own { own } => {
                    let next = ready!(own.as_mut().poll(cx))?;
                    state.set(State::Next { next });
                }
                StateProjection::Next { next } => {
                    let done = ready!(next.poll(cx));
                    return Poll::Ready(done.map_err(Error::passed));
                }
            }
        }
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
/// `Name<T> -> Output = Inner`, for an `Inner` that is a future whatever `T` is;
/// `Name<F> = Inner`, for one that is if `F` is.
macro_rules! opaque_future {
    ($(#[$doc:meta])* $name:ident<$($param:ident),*> -> $output:ty = $inner:ty) => {
        opaque_future!(@struct $(#[$doc])* $name<$($param),*> = $inner);

        impl<$($param),*> std::future::Future for $name<$($param),*> {
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

    (@struct $(#[$doc:meta])* $name:ident<$($param:ident),*> = $inner:ty) => {
        pin_project_lite::pin_project! {
            $(#[$doc])*
            #[must_use = "futures do nothing unless polled"]
            pub struct $name<$($param),*> { #[pin] inner: $inner }
        }

        impl<$($param),*> $name<$($param),*> {
            pub(crate) fn new(inner: $inner) -> Self {
                Self { inner }
            }
        }

        impl<$($param),*> std::fmt::Debug for $name<$($param),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };

    (@poll) => {
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
