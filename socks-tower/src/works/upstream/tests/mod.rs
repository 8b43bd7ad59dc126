//! Proxies as scripts, and what comes of them.

mod fails;
#[cfg(feature = "http-connect")]
mod properties;
mod speaks;

use std::{convert::Infallible, error::Error as StdError, future::pending, time::Duration};

use socks_core::{
    Credentials, Target,
    server::Version,
    v5::{Command, Method, ReplyCode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};
use tokio_test::io::{Builder, Mock};
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

use super::*;
use crate::{
    session::{
        BoxError, Connector, DialError, Error, ErrorKind, Inbound, IntoOutbound, Outbound, Pinned,
        Request, Session, Stream, Work,
    },
    stages::connect::ConnectLayer,
    test_support::{MustNotBeCalled, Stop, requested},
};

const PROXY: &str = "proxy.example:1080";
const GREETED: &[u8] = b"\x05\x01\x00";
const ASKED: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x00\x50";
const GRANTED: &[u8] = b"\x05\x00\x00\x01\xc0\x00\x02\x01\x04\x38";

fn target(target: &str) -> Target {
    target.parse().unwrap()
}

fn to(target: &str) -> Request {
    Request::new(
        Session::new(),
        Command::CONNECT,
        target.parse::<Target>().unwrap(),
    )
}

fn joe() -> Credentials {
    Credentials::new("joe", "secret").unwrap()
}

/// Reaches a proxy that `script` says all of.
fn proxy(
    script: impl Fn(&mut Builder) + Clone + Send + 'static,
) -> impl Connector<Request, Io = Mock> {
    service_fn(move |request: Request| {
        assert_eq!(request.target, target(PROXY));
        let mut builder = Builder::new();
        script(&mut builder);
        async move { Ok::<_, Infallible>(builder.build()) }
    })
}

/// Reads the rest: what is the target's.
async fn rest<Io: Stream>(upstream: impl IntoOutbound<Io = Io>) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut io = upstream.into_outbound().io;
    io.read_to_end(&mut rest).await.unwrap();
    rest
}

fn failure(error: &Error) -> UpstreamFailure {
    error
        .get_ref()
        .unwrap()
        .downcast_ref::<UpstreamError>()
        .unwrap()
        .failure()
}
