//! One connection through a proxy: dial, handshake, and a deadline for both.

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use socks_core::{client::Client, v5::Command};
use tokio::time::Instant;
use tokio_util::either::Either;

use super::{
    UpstreamError, UpstreamFailure,
    handshake::{Heard, Next, Talk},
    hop::Way,
    method::authenticate,
};
#[cfg(feature = "http-connect")]
use super::{handshake::Words, http};
use crate::session::{
    Connector, Deadline, Error, IntoOutbound, Outbound, Request, Run, Stream, WrapsDatagrams,
    opaque_future,
};

pub(crate) type BoxConnect<Io> = Pin<Box<dyn Future<Output = Result<Outbound<Io>, Error>> + Send>>;

opaque_future! {
    /// The future of the connectors through a proxy that `C` reaches.
    UpstreamFuture<C: Connector<Request>> -> Result<Outbound<C::Io>, Error> =
        Either<Connecting<C, Error>, BoxConnect<C::Io>>
}

impl<C: Connector<Request>> UpstreamFuture<C> {
    pub(crate) fn boxed(
        connecting: impl Future<Output = Result<Outbound<C::Io>, Error>> + Send + 'static,
    ) -> Self {
        Self::new(Either::Right(Box::pin(connecting)))
    }
}

/// What is being said to a proxy.
pub(super) enum Asking {
    Socks(Talk),
    /// The head of a request.
    #[cfg(feature = "http-connect")]
    Http(Words),
}

impl Asking {
    fn poll_heard<Io: Stream>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Heard, UpstreamError>> {
        match self {
            Self::Socks(talk) => talk.poll_heard(io, cx),
            #[cfg(feature = "http-connect")]
            Self::Http(head) => head
                .poll_send(Pin::new(io), cx)
                .map_ok(|()| Heard::Next(Next::Http)),
        }
    }

    fn client(&self) -> Option<&Client> {
        match self {
            Self::Socks(talk) => Some(&talk.client),
            #[cfg(feature = "http-connect")]
            Self::Http(_) => None,
        }
    }

    /// Whether the proxy has the request: whose fault it is that there is no answer by
    /// the deadline depends.
    fn is_asked(&self) -> bool {
        match self {
            Self::Socks(talk) => talk.is_asked(),
            #[cfg(feature = "http-connect")]
            Self::Http(head) => head.are_said(),
        }
    }
}

pin_project! {
    // By hand: an async block would need a box, or be moved with room for all that it
    // will ever keep.
    pub(crate) struct Connecting<C, E>
    where
        C: Connector<Request>,
    {
        way: Arc<Way>,
        command: Command,
        asking: Asking,
        // What the method that let us in makes of datagrams.
        datagrams: Option<WrapsDatagrams>,
        #[pin]
        deadline: Deadline,
        #[pin]
        stage: Stage<C>,
        error: PhantomData<fn() -> E>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<C>
    where
        C: Connector<Request>,
    {
        Dials { #[pin] dial: Run<C, Request, C::Future> },
        Talks { upstream: Option<Outbound<C::Io>> },
        Apart { apart: Apart<C::Io> },
    }
}

/// What a talk does not do by itself: the method of somebody else, HTTP. Few connections
/// come to that, and all would have its room.
type Apart<Io> = Pin<
    Box<dyn Future<Output = Result<(Outbound<Io>, Option<WrapsDatagrams>), UpstreamError>> + Send>,
>;

impl<C: Connector<Request>, E> Connecting<C, E> {
    pub(super) fn new(
        way: Arc<Way>,
        command: Command,
        asking: Asking,
        deadline: Option<Instant>,
        dial: Run<C, Request, C::Future>,
    ) -> Self {
        Self {
            way,
            command,
            asking,
            datagrams: None,
            deadline: Deadline::at(deadline),
            stage: Stage::Dials { dial },
            error: PhantomData,
        }
    }

    /// Goes on until `upstream` leads to the target.
    fn poll_connected(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        let mut this = self.as_mut().project();
        match this.stage.as_mut().project() {
            StageProjection::Dials { dial } => {
                let dialled = ready!(dial.poll(cx))
                    .map_err(|error| UpstreamError::new(UpstreamFailure::Unreachable, error))?;
                let upstream = Some(dialled.into_outbound());
                this.stage.set(Stage::Talks { upstream });
            }
            StageProjection::Talks { .. } => {}
            StageProjection::Apart { apart } => {
                let (upstream, datagrams) = ready!(apart.as_mut().poll(cx))?;
                let upstream = Some(upstream);
                this.stage.set(Stage::Talks { upstream });
                *this.datagrams = datagrams;
                match this.asking {
                    Asking::Socks(talk) => talk.authenticated()?,
                    #[cfg(feature = "http-connect")]
                    Asking::Http(_) => return Poll::Ready(Ok(())),
                }
            }
        }
        let StageProjection::Talks { upstream: place } = this.stage.as_mut().project() else {
            return Poll::Pending;
        };
        // Once it is connected, it talks no more.
        let Some(upstream) = place else {
            return Poll::Pending;
        };
        match ready!(this.asking.poll_heard(&mut upstream.io, cx))? {
            Heard::Granted(addr) => {
                if *this.command != Command::CONNECT
                    && let Some(client) = this.asking.client()
                {
                    let (client, datagrams) = (client.clone(), this.datagrams.take());
                    let bound = this.way.bound(addr, client, datagrams, upstream.tcp());
                    upstream.bound = Some(bound);
                }
                Poll::Ready(Ok(()))
            }
            Heard::Next(next) => {
                let Some(upstream) = place.take() else {
                    return Poll::Pending;
                };
                let apart = Box::pin(go_apart(this.way.clone(), *this.command, next, upstream));
                this.stage.set(Stage::Apart { apart });
                self.poll_connected(cx)
            }
        }
    }
}

async fn go_apart<Io: Stream>(
    way: Arc<Way>,
    command: Command,
    next: Next,
    mut upstream: Outbound<Io>,
) -> Result<(Outbound<Io>, Option<WrapsDatagrams>), UpstreamError> {
    let io = &mut upstream.io;
    let datagrams = match next {
        Next::Method(code) => authenticate(way.protocol.methods(), command, code, io)
            .await
            .map_err(|error| UpstreamError::new(UpstreamFailure::RefusedUs, error))?,
        #[cfg(feature = "http-connect")]
        Next::Http => {
            http::granted(io).await?;
            None
        }
    };
    Ok((upstream, datagrams))
}

impl<C: Connector<Request>, E: From<UpstreamError>> Future for Connecting<C, E> {
    type Output = Result<Outbound<C::Io>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = self.as_mut().poll_connected(cx);
        let this = self.project();
        let error = match connected {
            Poll::Ready(Ok(())) => {
                if let StageProjection::Talks { upstream } = this.stage.project()
                    && let Some(upstream) = upstream.take()
                {
                    return Poll::Ready(Ok(upstream));
                }
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => error,
            Poll::Pending => {
                let elapsed = ready!(this.deadline.poll_passed(cx));
                let failure = match this.asking.is_asked() {
                    true => UpstreamFailure::NoAnswer,
                    false => UpstreamFailure::Unreachable,
                };
                UpstreamError::new(failure, elapsed)
            }
        };
        Poll::Ready(Err(error.of(this.way.proxy.clone()).into()))
    }
}
