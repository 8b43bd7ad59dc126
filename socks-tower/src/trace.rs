//! One span per connection, and one event when it ends.
//!
//! Fields have OpenTelemetry's names. What is not known when the span opens is
//! filled in by the stage that learns it.

use std::{error::Error as StdError, time::Duration};

use tracing::{Span, field::Empty};

use crate::{Error, Request, Session, Transfer};

/// The span of a connection.
pub(crate) fn span(session: &Session) -> Span {
    let span = tracing::info_span!(
        "session",
        network.peer.address = Empty,
        network.peer.port = Empty,
        client.address = Empty,
        client.port = Empty,
        network.protocol.name = Empty,
        network.protocol.version = Empty,
        user.name = Empty,
        socks.command = Empty,
        server.address = Empty,
        server.port = Empty,
    );
    if let Some(addr) = session.client_addr.filter(|_| !span.is_disabled()) {
        span.record("network.peer.address", tracing::field::display(addr.ip()));
        span.record("network.peer.port", addr.port());
    }
    span
}

/// The first stage has begun: the client speaks `protocol`, and a PROXY header
/// that says where it is has been read.
pub(crate) fn speaks(span: &Span, protocol: &str, session: &Session) {
    if span.is_disabled() {
        return;
    }
    span.record("network.protocol.name", protocol);
    if let Some(addr) = session.client_addr {
        span.record("client.address", tracing::field::display(addr.ip()));
        span.record("client.port", addr.port());
    }
}

/// The client is let in, and what it wants is known.
pub(crate) fn requested(span: &Span, request: &Request) {
    if span.is_disabled() {
        return;
    }
    if let Some(version) = request.session.version {
        span.record("network.protocol.version", version.as_str());
    }
    if let Some(identity) = &request.session.identity {
        span.record("user.name", tracing::field::display(identity));
    }
    span.record("socks.command", tracing::field::display(request.command));
    span.record(
        "server.address",
        tracing::field::display(&request.target.host),
    );
    span.record("server.port", request.target.port);
}

/// The session is over.
pub(crate) fn ended(outcome: Result<&Transfer, &Error>, lasted: Duration) {
    let seconds = lasted.as_secs_f64();
    match outcome {
        Ok(transfer) => tracing::info!(
            bytes_up = transfer.up,
            bytes_down = transfer.down,
            datagrams_up = transfer.datagrams.map(|datagrams| datagrams.up),
            datagrams_down = transfer.datagrams.map(|datagrams| datagrams.down),
            datagrams_dropped = transfer.datagrams.map(|datagrams| datagrams.dropped.total()),
            seconds,
            end = %transfer.end,
            "session ended"
        ),
        Err(error) => tracing::info!(
            error.r#type = error.kind().as_str(),
            error = %Chain(error),
            seconds,
            "session ended"
        ),
    }
}

/// An error with all of its causes on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        for cause in self.0.causes() {
            let cause: &(dyn StdError + 'static) = cause;
            let text = cause.to_string();
            // An `io::Error` prints as the error within it.
            if text != last {
                write!(f, ": {}", text.escape_debug())?;
            }
            last = text;
        }
        Ok(())
    }
}
