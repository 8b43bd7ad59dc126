//! What a work is, and what each kind of work answers.

use std::{
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use socks_core::DomainName;
use tower_service::Service;

use crate::session::{
    BoxError, BoxStream, BoxWork, IntoOutbound, Outbound, Pinned, Request, Sealed, Stream,
    always_ready,
};

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
        Run::new(self, request)
    }
}

pin_project! {
    /// Readies a work and calls it.
    ///
    /// By hand: an async block would keep the work and room for the request
    /// until the answer is there.
    #[project = RunProjection]
    pub(crate) enum Run<S, R, F> {
        Readying { work: S, request: Option<R> },
        Called { #[pin] called: F },
    }
}

impl<S: Service<R>, R> Run<S, R, S::Future> {
    pub(crate) fn new(work: S, request: R) -> Self {
        Self::Readying {
            work,
            request: Some(request),
        }
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

// Recommended: then the compiler names the part of a stack that is amiss, and what
// it lacks.
impl<R, S> Work<R> for S where
    S: Service<R, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
}

/// A work that answers with a stream to the target.
///
/// It holds for every work whose answer is a [`Stream`] or an
/// [`Outbound`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot connect to a `{R}`",
    label = "this stack hands its connector a `{R}`",
    note = "what takes a `Request<Pinned>`, as `TcpConnector` and rules about addresses do, stands inside `ResolveLayer`",
    note = "a connector is `Clone + Send + 'static`, its future `Send`, its error `Into<BoxError>`; it answers with an `AsyncRead + AsyncWrite` stream, or an `Outbound` of one",
    note = "what is not `Clone` (tower's RateLimit) goes behind tower's Buffer"
)]
pub trait Connector<R>: Work<R, Response: IntoOutbound<Io = <Self as Connector<R>>::Io>> {
    /// The stream.
    type Io: Stream;
}

impl<R, S> Connector<R> for S
where
    S: Work<R, Response: IntoOutbound>,
{
    type Io = <S::Response as IntoOutbound>::Io;
}

/// A work whose type is forgotten.
pub(crate) struct AnyWork<T>(Arc<dyn Fn(Request) -> BoxWork<T> + Send + Sync>);

/// A connector whose type is forgotten.
pub(crate) type AnyConnector = AnyWork<Outbound<BoxStream>>;

impl<T: Send + 'static> AnyWork<T> {
    /// Does what `work` does, and makes something of its answer.
    pub(crate) fn of<S: Work<Request>>(work: S, make: fn(S::Response) -> T) -> Self {
        // Locked while it is cloned, so that it need not be `Sync`.
        let work = Mutex::new(work);
        Self(Arc::new(move |request| {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let running = work.run(request);
            Box::pin(async move { running.await.map(make) })
        }))
    }
}

impl AnyConnector {
    pub(crate) fn new<C: Connector<Request>>(connector: C) -> Self {
        Self::of(connector, |answer| answer.into_outbound().boxed())
    }
}

impl<T: Send> Service<Request> for AnyWork<T> {
    type Response = T;
    type Error = BoxError;
    type Future = BoxWork<T>;

    always_ready!();

    fn call(&mut self, request: Request) -> BoxWork<T> {
        self.0(request)
    }
}

impl<T> Clone for AnyWork<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for AnyWork<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyWork(..)")
    }
}

/// A work that answers with the addresses of a name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a resolver",
    label = "does not answer a `Request<DomainName>` with addresses",
    note = "a resolver is a `Service<Request<DomainName>>` that answers with `IpAddr`s: a `Vec`, or another `IntoIterator` of them",
    note = "it is also `Clone + Send + 'static`, its future `Send`, its error `Into<BoxError>`"
)]
pub trait Resolver: Work<Request<DomainName>, Response: IntoIterator<Item = IpAddr>> {}

#[diagnostic::do_not_recommend]
impl<S: Work<Request<DomainName>, Response: IntoIterator<Item = IpAddr>>> Resolver for S {}

/// A work that is asked whether a request may be served, and hands it on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not judge a `Request<{T}>`",
    label = "not an authorizer of `Request<{T}>`",
    note = "an authorizer is a `Service<Request<{T}>>` that answers with the request",
    note = "`Rules` judge addresses, and stand inside `ResolveLayer`; `NameRules` judge names outside it",
    note = "it is also `Clone + Send + 'static`, its future `Send`, its error `Into<BoxError>`"
)]
pub trait Authorizer<T>: Work<Request<T>, Response = Request<T>> {}

#[diagnostic::do_not_recommend]
impl<T, S: Work<Request<T>, Response = Request<T>>> Authorizer<T> for S {}

/// A work that is asked about a request which no connector will serve: the
/// peers of BIND, the destinations of datagrams, look-ups.
///
/// It is the stack that serves CONNECT, with [`Permit`](crate::Permit) in the
/// place of the connector.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a judge",
    label = "does not answer a `Request` with a `Request<Pinned>`",
    note = "a judge is the connector's stack with `Permit` in the place of the connector: `ResolveLayer`, rules, `Permit`",
    note = "it is also `Clone + Send + 'static`, its future `Send`, its error `Into<BoxError>`"
)]
pub trait Judge: Work<Request, Response = Request<Pinned>> {}

#[diagnostic::do_not_recommend]
impl<S: Work<Request, Response = Request<Pinned>>> Judge for S {}

/// What a judge of what goes through an upstream proxy answers: a request whose target
/// the upstream is told, with a name to be looked up there
/// ([`NameRules`](crate::NameRules)), or one whose addresses it is told (a [`Judge`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a judge answers",
    note = "it is a `Request` of a target, or of a `Pinned`"
)]
pub trait Judged: Send + Sealed {
    /// The target, with the addresses that it may be told by; without any, it is told by
    /// name. None, if nothing is left of it.
    #[doc(hidden)]
    fn into_told(self) -> Option<Request<Pinned>>;
}

impl Sealed for Request {}

impl Judged for Request {
    fn into_told(self) -> Option<Request<Pinned>> {
        let addrs = self.target.socket_addr();
        let told = Pinned::new(self.target.clone(), addrs);
        Some(self.with_target(told))
    }
}

impl Sealed for Request<Pinned> {}

impl Judged for Request<Pinned> {
    fn into_told(self) -> Option<Self> {
        (!self.target.addrs().is_empty()).then_some(self)
    }
}
