//! One span per connection, a span per stage within it, and one event when it
//! ends.
//!
//! Fields have OpenTelemetry's names. What is not known when the span opens is
//! filled in by the stage that learns it.

mod stage;

pub(crate) use stage::{stage, udp_associate};
use tracing::{
    Span,
    field::{Empty, display},
};

use crate::session::{Protocol, Request, Session};

/// The span of a connection.
pub(crate) fn span(session: &Session) -> Span {
    let span = tracing::info_span!(
        "session",
        session.id = session.id().get(),
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
        span.record("network.peer.address", display(addr.ip()));
        span.record("network.peer.port", addr.port());
    }
    span
}

/// The client speaks `protocol`, as the span is to say.
pub(crate) fn speaks(protocol: Protocol, session: &Session) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    span.record("network.protocol.name", protocol.name());
    if let Some(addr) = session.client_addr {
        span.record("client.address", display(addr.ip()));
        span.record("client.port", addr.port());
    }
}

/// The client is let in, and what it wants is known. In the connection's span,
/// not in a stage's.
pub(crate) fn requested(request: &Request) {
    request.session.watch.requested(request);
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    if let Some(version) = request.session.protocol.and_then(Protocol::version) {
        span.record("network.protocol.version", version);
    }
    if let Some(identity) = &request.session.identity {
        span.record("user.name", identity.as_str());
    }
    span.record("socks.command", display(request.command));
    span.record("server.address", display(&request.target.host));
    span.record("server.port", request.target.port);
}
