//! What the stages' tests share: bytes as a script, and services around them.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use socks_core::server::Versions;
use tokio::io::DuplexStream;
use tokio_test::io::{Builder, Mock};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    session::{
        Accepted, BoxError, ClientStream, Error, Greeted, Inbound, Request, Requested, Session,
        always_ready,
    },
    stages::{authenticate::AuthenticateLayer, handshake::HandshakeLayer},
};

/// SOCKS5, no authentication, CONNECT to 127.0.0.1:80.
pub(crate) const HELLO: &[u8] = b"\x05\x01\x00";
pub(crate) const CONNECT: &[u8] = b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50";

pub(crate) fn accepted<Io>(io: Io) -> Accepted<Io> {
    Accepted::new(io, Session::new())
}

/// A client whose hanging up in order is part of the script's end.
pub(crate) fn script() -> Builder {
    Builder::new()
}

/// The end of a stack in a test: gives back what came to it.
#[derive(Clone, Debug)]
pub(crate) struct Stop;

impl<T> Service<T> for Stop {
    type Response = T;
    type Error = Infallible;
    type Future = Ready<Result<T, Infallible>>;

    always_ready!();

    fn call(&mut self, state: T) -> Self::Future {
        ready(Ok(state))
    }
}

/// A service that a test must not come to.
#[derive(Clone, Debug)]
pub(crate) struct MustNotBeCalled;

impl<T> Service<T> for MustNotBeCalled {
    type Response = DuplexStream;
    type Error = BoxError;
    type Future = Ready<Result<DuplexStream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: T) -> Self::Future {
        panic!("must not be called")
    }
}

/// Runs the handshake alone.
pub(crate) async fn greet(layer: HandshakeLayer, io: Mock) -> Result<Greeted<Mock>, Error> {
    layer.layer(Stop).call(accepted(io)).await
}

/// Runs the stack up to the request.
pub(crate) async fn negotiate(
    auth: AuthenticateLayer,
    io: Mock,
) -> Result<Requested<ClientStream<Mock>>, Error> {
    negotiate_from(auth, accepted(io)).await
}

pub(crate) async fn negotiate_from(
    auth: AuthenticateLayer,
    accepted: Accepted<Mock>,
) -> Result<Requested<ClientStream<Mock>>, Error> {
    let stack = HandshakeLayer::new().with_versions(Versions::ALL);
    stack.layer(auth.layer(Stop)).call(accepted).await
}

/// A client that waits for the reply to its request, at `io`.
pub(crate) fn requested<Io: crate::session::Stream>(
    io: Io,
    early: &[u8],
    request: Request,
) -> Requested<Io> {
    let client = Inbound::new(io, early.to_vec(), socks_core::server::Version::Socks5);
    Requested { client, request }
}
