use std::{
    fmt::Write,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use socks_core::{Target, v5::Command};

use crate::{
    middleware::sessions::LiveSession,
    session::{Identity, SessionId, policy::Direction},
};

/// A session of a node, as that has said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FleetSession {
    /// Its number, of that node's.
    pub id: SessionId,
    /// When it began, by that node's clock.
    pub since: SystemTime,
    /// Payload bytes that it has carried up.
    pub up: u64,
    /// Payload bytes that it has carried down.
    pub down: u64,
    /// What the client wants.
    pub command: Command,
    /// Where the client is.
    pub client_addr: Option<SocketAddr>,
    /// Where to, as the client named it.
    pub target: Target,
    /// Who it is.
    pub identity: Option<Identity>,
}

/// A line for how many there are, and one for each of `sessions`. Only names can have
/// anything in them, and are behind their lengths.
pub(super) fn write(total: usize, sessions: &[Arc<LiveSession>]) -> String {
    let mut list = format!("{total}\n");
    for live in sessions {
        let since = live.since().duration_since(SystemTime::UNIX_EPOCH);
        let session = live.session();
        let client = session.client_addr.map(|addr| addr.to_string());
        let identity = session.identity.as_ref().map(Identity::as_str);
        let len = identity.map(|identity| identity.len().to_string());
        // A string takes all that is written.
        let _ = writeln!(
            list,
            "{} {} {} {} {} {} {} {} {}",
            live.id(),
            since.unwrap_or_default().as_millis(),
            live.bytes(Direction::Up),
            live.bytes(Direction::Down),
            live.command().0,
            client.as_deref().unwrap_or("-"),
            live.target(),
            len.as_deref().unwrap_or("-"),
            identity.unwrap_or_default(),
        );
    }
    list
}

/// What [`write`](fn@write) wrote: all of it, or none.
pub(super) fn read(list: &str) -> Option<(usize, Vec<FleetSession>)> {
    let (total, mut rest) = list.split_once('\n')?;
    let mut sessions = Vec::new();
    while !rest.is_empty() {
        let mut parts = rest.splitn(9, ' ');
        let id = SessionId::new(parts.next()?.parse().ok()?);
        let since = Duration::from_millis(parts.next()?.parse().ok()?);
        let since = SystemTime::UNIX_EPOCH.checked_add(since)?;
        let up = parts.next()?.parse().ok()?;
        let down = parts.next()?.parse().ok()?;
        let command = Command(parts.next()?.parse().ok()?);
        let client_addr = match parts.next()? {
            "-" => None,
            addr => Some(addr.parse().ok()?),
        };
        let target = parts.next()?.parse().ok()?;
        let len = parts.next()?;
        let tail = parts.next()?;
        let (identity, tail) = match len {
            "-" => (None, tail),
            len => {
                let (name, tail) = tail.split_at_checked(len.parse().ok()?)?;
                (Some(Identity::new(name)), tail)
            }
        };
        rest = tail.strip_prefix('\n')?;
        sessions.push(FleetSession {
            id,
            since,
            up,
            down,
            command,
            client_addr,
            target,
            identity,
        });
    }
    Some((total.parse().ok()?, sessions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Request, Session};

    fn live(name: Option<&str>, client: Option<&str>, target: &str) -> Arc<LiveSession> {
        let mut session = Session::new();
        session.identity = name.map(Identity::new);
        session.client_addr = client.map(|addr| addr.parse().unwrap());
        let target = target.parse().unwrap();
        Arc::new(LiveSession::new(Request::new(
            session,
            Command::CONNECT,
            target,
        )))
    }

    #[test]
    fn what_is_written_is_read_whatever_names_have_in_them() {
        let names = [
            "joe",
            "",
            " 1 2 ",
            "a\nb\n",
            "\0\u{1b}[31m\r\n",
            "{\"a\":[1,\"\\\"]}",
            "jös\u{2028}",
        ];
        let mut all: Vec<_> = names
            .iter()
            .map(|name| live(Some(name), Some("[fe80::1]:80"), "b\u{fc}cher.example:443"))
            .collect();
        all.push(live(None, None, "[2001:db8::1]:0"));
        let (total, read) = read(&write(12_345, &all)).unwrap();
        assert_eq!((total, read.len()), (12_345, all.len()));
        for (read, live) in read.iter().zip(&all) {
            assert_eq!(read.id, live.id());
            assert_eq!(read.identity, live.session().identity);
            assert_eq!(read.client_addr, live.session().client_addr);
            assert_eq!(&read.target, live.target());
            assert_eq!(read.command, live.command());
        }
    }

    #[test]
    fn what_is_cut_short_or_wrong_is_no_list_and_no_panic() {
        let list = write(1, &[live(Some("j\u{f6}\n"), None, "a.example:1")]);
        for (end, _) in list.char_indices().skip(2).skip(1) {
            assert!(read(&list[..end]).is_none(), "{end}");
        }
        for wrong in [
            "",
            "x\n",
            "1\n1 2 3",
            "1\n1 1 1 1 1 - a:1 9999999 joe\n",
            "1\n1 99999999999999999999 1 1 1 - a:1 - \n",
        ] {
            assert!(read(wrong).is_none(), "{wrong:?}");
        }
    }
}
