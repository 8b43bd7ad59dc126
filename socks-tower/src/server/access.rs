//! The event when a session ends.

use tracing::{Level, field, info};

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
pub(crate) struct AccessEvents;

impl Observer for AccessEvents {
    fn ended(&self, summary: &Summary<'_>) {
        let record = summary.record;
        let (end, error_type, error) = match summary.outcome {
            Outcome::Done(end) => (Some(end.as_str()), None, None),
            Outcome::Failed(failure) => (None, Some(failure.kind().as_str()), Some(failure)),
            Outcome::Cut | Outcome::Panicked => (None, Some(summary.outcome.as_str()), None),
        };
        info!(
            target: TARGET,
            {
                network.peer.address = record.peer_addr.map(|addr| field::display(addr.ip())),
                network.peer.port = record.peer_addr.map(|addr| addr.port()),
                client.address = record.client_addr.map(|addr| field::display(addr.ip())),
                client.port = record.client_addr.map(|addr| addr.port()),
                network.local.address = record.local_addr.map(|addr| field::display(addr.ip())),
                network.local.port = record.local_addr.map(|addr| addr.port()),
                session.id = record.id.get(),
                network.protocol.name = record.protocol.map(Protocol::name),
                network.protocol.version = record.protocol.and_then(Protocol::version),
                user.name = record.identity.as_ref().map(field::display),
                user.claimed = record.refused_name().map(|name| field::display(name.as_bytes().escape_ascii())),
                socks.method = record.method.map(field::display),
                socks.user_id = record.user_id.as_ref().map(|id| field::display(id.as_bytes().escape_ascii())),
                socks.command = record.command.map(field::display),
                server.address = record.target.as_ref().map(|target| field::display(&target.host)),
                server.port = record.target.as_ref().map(|target| target.port),
                socks.upstream.address = record.upstream_addr.map(|addr| field::display(addr.ip())),
                socks.upstream.port = record.upstream_addr.map(|addr| addr.port()),
                socks.reply = record.reply.map(|reply| reply.0),
                bytes_up = summary.bytes(Direction::Up),
                bytes_down = summary.bytes(Direction::Down),
                datagrams_up = summary.datagrams.map(|datagrams| datagrams.up),
                datagrams_down = summary.datagrams.map(|datagrams| datagrams.down),
                datagrams_dropped = summary.datagrams.map(|datagrams| datagrams.dropped.total()),
                seconds = summary.duration.as_secs_f64(),
                end,
                error.r#type = error_type,
                error = error.map(field::display)
            },
            "session ended"
        );
    }
}
