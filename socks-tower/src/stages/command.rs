//! Sends each command to a stack of its own.
//!
//! [`ByCommand`] stands behind [`AuthenticateLayer`](crate::AuthenticateLayer)
//! and ends the session's stack. A command that it has no stack for is refused
//! with 07, command not supported. With CONNECT alone it is not needed:
//! [`ConnectLayer`](crate::ConnectLayer) refuses the rest by itself.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, ByCommand, ClientStream, Command, ConnectLayer, Error,
//!     HandshakeLayer, NoAuth, Relay, Request, Requested, Target, Transfer,
//! };
//! use tokio::{io::duplex, net::TcpStream};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! // A command of our own: it is granted, and that is all.
//! let hello = service_fn(|mut requested: Requested<ClientStream<TcpStream>>| async move {
//!     requested.client.grant(&Target::UNSPECIFIED).await?;
//!     Ok::<_, Error>(Transfer::default())
//! });
//! let connect = ServiceBuilder::new()
//!     .layer(ConnectLayer::new(service_fn(|_: Request| async { Ok::<_, BoxError>(duplex(64).0) })))
//!     .service(Relay::new());
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .service(ByCommand::new().connect(connect).on(Command(0x80), hello));
//! # fn check(_: impl tower::Service<socks_tower::Accepted<TcpStream>, Response = Transfer>) {}
//! # check(proxy);
//! ```

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use socks_core::v5::Command;
use tower_service::Service;

use crate::session::{
    BoxError, Error, ErrorKind, Requested, Stage, StageFuture, Stream, Transfer, always_ready,
    opaque_future,
};

/// Routes a [`Requested`] by its command. See the [module's page](self).
///
/// The list of stacks is in the type: what is not served costs nothing. A clone
/// shares it, and of the stacks in it, only the one that is chosen is cloned,
/// however many times a session's way to here clones all of them.
#[derive(Debug, Default)]
pub struct ByCommand<R = RefuseCommand> {
    routes: Arc<R>,
}

impl<R> Clone for ByCommand<R> {
    fn clone(&self) -> Self {
        Self {
            routes: Arc::clone(&self.routes),
        }
    }
}

impl ByCommand {
    /// Refuses every command.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<R: Clone> ByCommand<R> {
    /// Sends `command` to `stack`. What is set last for a command counts.
    #[must_use]
    pub fn on<S>(self, command: Command, stack: S) -> ByCommand<On<S, R>> {
        ByCommand {
            routes: Arc::new(On {
                command,
                stack: Mutex::new(stack),
                rest: Arc::unwrap_or_clone(self.routes),
            }),
        }
    }

    /// Sends CONNECT to `stack`.
    #[must_use]
    pub fn connect<S>(self, stack: S) -> ByCommand<On<S, R>> {
        self.on(Command::CONNECT, stack)
    }

    /// Sends BIND to `stack`.
    #[must_use]
    pub fn bind<S>(self, stack: S) -> ByCommand<On<S, R>> {
        self.on(Command::BIND, stack)
    }

    /// Sends UDP ASSOCIATE to `stack`.
    #[must_use]
    pub fn udp_associate<S>(self, stack: S) -> ByCommand<On<S, R>> {
        self.on(Command::UDP_ASSOCIATE, stack)
    }
}

impl<Io: Stream, R: Routes<Io>> Service<Requested<Io>> for ByCommand<R> {
    type Response = Transfer;
    type Error = Error;
    type Future = R::Future;

    // A stack is readied once it is chosen, so that one that is full holds up
    // no other.
    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> R::Future {
        self.routes.route(requested)
    }
}

/// The stacks of a [`ByCommand`], which [`ByCommand::on`] puts together.
#[diagnostic::on_unimplemented(
    message = "a stack of this `ByCommand` does not take a `Requested<{Io}>`",
    note = "what stands behind a command is a `Stage<Requested<{Io}>, Response = Transfer>`"
)]
pub trait Routes<Io>: sealed::Sealed + Send + Sync + 'static {
    /// The future of whichever is chosen.
    type Future: Future<Output = Result<Transfer, Error>> + Send + 'static;

    /// Chooses one by the command, and calls it.
    fn route(&self, requested: Requested<Io>) -> Self::Future;
}

/// One command's stack, and those of the others.
#[derive(Debug)]
pub struct On<S, R> {
    command: Command,
    /// Locked to be cloned: no stage need be `Sync`.
    stack: Mutex<S>,
    rest: R,
}

impl<S: Clone, R> On<S, R> {
    fn stack(&self) -> S {
        let stack = self.stack.lock();
        stack.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Clone, R: Clone> Clone for On<S, R> {
    fn clone(&self) -> Self {
        Self {
            command: self.command,
            stack: Mutex::new(self.stack()),
            rest: self.rest.clone(),
        }
    }
}

impl<Io, S, R> Routes<Io> for On<S, R>
where
    Io: Stream,
    S: Stage<Requested<Io>, Response = Transfer>,
    R: Routes<Io>,
{
    type Future = OnFuture<StageFuture<S::Future>, R::Future>;

    fn route(&self, requested: Requested<Io>) -> Self::Future {
        if requested.request.command == self.command {
            let own = ready(Ok(requested));
            let chosen = StageFuture::new(own, self.stack());
            OnFuture {
                route: Route::Chosen { chosen },
            }
        } else {
            let rest = self.rest.route(requested);
            OnFuture {
                route: Route::Rest { rest },
            }
        }
    }
}

opaque_future! {
    /// The future of [`RefuseCommand`].
    RefuseCommandFuture<> -> Result<Transfer, Error> = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>
}

mod sealed {
    #[expect(unnameable_types, reason = "that is how a trait is sealed")]
    pub trait Sealed {}

    impl<S, R> Sealed for super::On<S, R> {}

    impl Sealed for super::RefuseCommand {}
}

/// The end of every [`ByCommand`]: refuses with 07.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefuseCommand;

impl<Io: Stream> Routes<Io> for RefuseCommand {
    type Future = <Self as Service<Requested<Io>>>::Future;

    fn route(&self, requested: Requested<Io>) -> Self::Future {
        let mut refuse = *self;
        refuse.call(requested)
    }
}

impl<Io: Stream> Service<Requested<Io>> for RefuseCommand {
    type Response = Transfer;
    type Error = Error;
    type Future = RefuseCommandFuture;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        RefuseCommandFuture::new(Box::pin(async move {
            let error = Error::bare(ErrorKind::Command);
            Err(requested.client.refuse(error).await)
        }))
    }
}

pin_project! {
    /// The future of [`On`].
    #[must_use = "futures do nothing unless polled"]
    pub struct OnFuture<S, R> {
        #[pin]
        route: Route<S, R>,
    }
}

pin_project! {
    #[project = RouteProjection]
    enum Route<S, R> {
        Chosen { #[pin] chosen: S },
        Rest { #[pin] rest: R },
    }
}

impl<S, R, ES, ER> Future for OnFuture<S, R>
where
    S: Future<Output = Result<Transfer, ES>>,
    R: Future<Output = Result<Transfer, ER>>,
    ES: Into<BoxError>,
    ER: Into<BoxError>,
{
    type Output = Result<Transfer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().route.project() {
            RouteProjection::Chosen { chosen } => chosen.poll(cx).map_err(Error::passed),
            RouteProjection::Rest { rest } => rest.poll(cx).map_err(Error::passed),
        }
    }
}

impl<S, R> fmt::Debug for OnFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFuture(..)")
    }
}
