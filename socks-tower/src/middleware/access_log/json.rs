use std::{
    fmt::{self, Display},
    time::UNIX_EPOCH,
};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::session::{
    Protocol,
    policy::Direction,
    watch::{Outcome, Summary},
};

/// Prints a session that is over as an object of JSON, on one line.
///
/// ```json
/// {"time":1763833713.123,"client.address":"192.0.2.7","client.port":50123,"end":"closed"}
/// ```
///
/// Its members are the fields of the event `socks::access`, which the page of
/// [`observe`](crate::middleware::observe) lists, peer and upstream too where others say the same, and `time`, when it ended, in
/// seconds since 1970. What is not known is left out. A parser gives back names, user ids
/// and errors as they were; what is not UTF-8 in a user id is U+FFFD.
#[derive(Clone, Debug)]
pub struct Json<'a>(&'a Summary<'a>);

impl<'a> Json<'a> {
    /// The line of a session that is over.
    #[must_use]
    pub fn new(summary: &'a Summary<'a>) -> Self {
        Self(summary)
    }
}

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = serde_json::to_string(&Members(self.0)).map_err(|_unlikely| fmt::Error)?;
        f.write_str(&line)
    }
}

struct Members<'a>(&'a Summary<'a>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(summary) = self;
        let record = summary.record;
        let mut map = serializer.serialize_map(None)?;

        let at = record.accepted_at + summary.duration;
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        map.serialize_entry("time", &(millis as f64 / 1000.0))?;
        map.serialize_entry("session.id", &record.id.get())?;
        for (address, port, addr) in [
            (
                "network.peer.address",
                "network.peer.port",
                record.peer_addr,
            ),
            ("client.address", "client.port", record.client_addr),
            (
                "network.local.address",
                "network.local.port",
                record.local_addr,
            ),
        ] {
            some(&mut map, address, addr.map(|addr| Text(addr.ip())))?;
            some(&mut map, port, addr.map(|addr| addr.port()))?;
        }
        let protocol = record.protocol;
        some(
            &mut map,
            "network.protocol.name",
            protocol.map(Protocol::name),
        )?;
        let version = protocol.and_then(Protocol::version);
        some(&mut map, "network.protocol.version", version)?;
        let identity = record.identity.as_ref();
        some(
            &mut map,
            "user.name",
            identity.map(|identity| identity.as_str()),
        )?;
        let claimed = record.refused_name();
        let claimed = claimed.map(|name| String::from_utf8_lossy(name.as_bytes()));
        some(&mut map, "user.claimed", claimed)?;
        some(&mut map, "socks.method", record.method.map(Text))?;
        let user_id = record.user_id.as_ref();
        let user_id = user_id.map(|id| String::from_utf8_lossy(id.as_bytes()));
        some(&mut map, "socks.user_id", user_id)?;
        some(&mut map, "socks.command", record.command.map(Text))?;
        let target = record.target.as_ref();
        some(
            &mut map,
            "server.address",
            target.map(|target| Text(&target.host)),
        )?;
        some(&mut map, "server.port", target.map(|target| target.port))?;
        let upstream = record.upstream_addr;
        some(
            &mut map,
            "socks.upstream.address",
            upstream.map(|addr| Text(addr.ip())),
        )?;
        some(
            &mut map,
            "socks.upstream.port",
            upstream.map(|addr| addr.port()),
        )?;
        some(&mut map, "socks.reply", record.reply.map(|reply| reply.0))?;
        some(&mut map, "bytes_up", summary.bytes(Direction::Up))?;
        some(&mut map, "bytes_down", summary.bytes(Direction::Down))?;
        if let Some(datagrams) = summary.datagrams {
            map.serialize_entry("datagrams_up", &datagrams.up)?;
            map.serialize_entry("datagrams_down", &datagrams.down)?;
            map.serialize_entry("datagrams_dropped", &datagrams.dropped.total())?;
        }
        map.serialize_entry("seconds", &summary.duration.as_secs_f64())?;
        match summary.outcome {
            Outcome::Done(end) => map.serialize_entry("end", end.as_str())?,
            Outcome::Failed(failure) => {
                map.serialize_entry("error.type", failure.kind().as_str())?;
                map.serialize_entry("error", &failure.text())?;
            }
            Outcome::Cut | Outcome::Panicked => {
                map.serialize_entry("error.type", summary.outcome.as_str())?;
            }
        }
        map.end()
    }
}

fn some<M: SerializeMap>(
    map: &mut M,
    key: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

/// What prints, as a string.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
