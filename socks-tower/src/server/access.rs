//! The event when a session ends.

use std::net::SocketAddr;

use socks_core::{Host, Target};
use tracing::{Level, Span, field, info};

use crate::session::{
    Protocol,
    policy::Direction,
    watch::{Observer, Outcome, Summary},
};

/// The target of the event.
const TARGET: &str = "socks::access";

/// Whether somebody wants it.
pub(crate) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::INFO)
}

/// Emits one event for each session, when it ends, with all that is known of
/// it.
///
/// Not in the session's span: a line of text would say most of it twice.
pub(crate) struct AccessEvents {
    /// That in which the server runs.
    within: Span,
}

impl AccessEvents {
    pub(crate) fn new() -> Self {
        Self {
            within: Span::current(),
        }
    }
}

/// Whether `target` names this very address.
fn is_at(target: Option<&Target>, addr: SocketAddr) -> bool {
    target.is_some_and(|target| target.host == Host::Ip(addr.ip()) && target.port == addr.port())
}

impl Observer for AccessEvents {
    fn ended(&self, summary: &Summary<'_>) {
        self.within.in_scope(|| emit(summary));
    }
}

fn emit(summary: &Summary<'_>) {
    let record = summary.record;
    let (end, error_type, error) = match summary.outcome {
        Outcome::Done(end) => (Some(end.as_str()), None, None),
        Outcome::Failed(failure) => (None, Some(failure.kind().as_str()), Some(failure.text())),
        Outcome::Cut | Outcome::Panicked => (None, Some(summary.outcome.as_str()), None),
    };
    // Most are where they seem to be, and are said once.
    let target = record.target.as_ref();
    let peer_addr = record
        .peer_addr
        .filter(|_| record.peer_addr != record.client_addr);
    let upstream_addr = record.upstream_addr.filter(|&addr| !is_at(target, addr));
    let user_id = record.user_id.as_ref();
    let user_id = user_id.map(|id| String::from_utf8_lossy(id.as_bytes()));
    let claimed = record.refused_name();
    let claimed = claimed.map(|name| String::from_utf8_lossy(name.as_bytes()));
    // What clients choose goes as text, which each form of a log escapes in
    // its own way.
    info!(
        target: TARGET,
        {
            session.id = record.id.get(),
            network.peer.address = peer_addr.map(|addr| field::display(addr.ip())),
            network.peer.port = peer_addr.map(|addr| addr.port()),
            client.address = record.client_addr.map(|addr| field::display(addr.ip())),
            client.port = record.client_addr.map(|addr| addr.port()),
            network.local.address = record.local_addr.map(|addr| field::display(addr.ip())),
            network.local.port = record.local_addr.map(|addr| addr.port()),
            network.protocol.name = record.protocol.map(Protocol::name),
            network.protocol.version = record.protocol.and_then(Protocol::version),
            user.name = record.identity.as_ref().map(|identity| identity.as_str()),
            user.claimed = claimed.as_deref(),
            socks.method = record.method.map(field::display),
            socks.user_id = user_id.as_deref(),
            socks.command = record.command.map(field::display),
            server.address = target.map(|target| field::display(&target.host)),
            server.port = target.map(|target| target.port),
            socks.upstream.address = upstream_addr.map(|addr| field::display(addr.ip())),
            socks.upstream.port = upstream_addr.map(|addr| addr.port()),
            socks.reply = record.reply.map(|reply| reply.0),
            bytes_up = summary.bytes(Direction::Up),
            bytes_down = summary.bytes(Direction::Down),
            datagrams_up = summary.datagrams.map(|datagrams| datagrams.up),
            datagrams_down = summary.datagrams.map(|datagrams| datagrams.down),
            datagrams_dropped = summary.datagrams.map(|datagrams| datagrams.dropped.total()),
            seconds = summary.duration.as_secs_f64(),
            end,
            error.r#type = error_type,
            error = error.as_deref()
        },
        "session ended"
    );
}
