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
            Outcome::Failed(failure) => (None, Some(failure.kind().as_str()), Some(failure.text())),
            Outcome::Cut | Outcome::Panicked => (None, Some(summary.outcome.as_str()), None),
        };
        let user_id = record.user_id.as_ref();
        let user_id = user_id.map(|id| String::from_utf8_lossy(id.as_bytes()));
        let claimed = record.refused_name();
        let claimed = claimed.map(|name| String::from_utf8_lossy(name.as_bytes()));
        // What clients choose goes as text, which each form of a log escapes in
        // its own way.
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
                user.name = record.identity.as_ref().map(|identity| identity.as_str()),
                user.claimed = claimed.as_deref(),
                socks.method = record.method.map(field::display),
                socks.user_id = user_id.as_deref(),
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
                error = error.as_deref()
            },
            "session ended"
        );
    }
}
