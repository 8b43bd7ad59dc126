use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::UNIX_EPOCH,
};

use socks_core::{Host, v5::Command};

use crate::session::{
    End, ErrorKind, Protocol,
    policy::Direction,
    watch::{Outcome, Record, Summary},
};

/// Prints a session that is over as 3proxy logs it, by the format that its
/// samples have, `L%t.%. %N.%p %E %U %C:%c %R:%r %O %I %h %T`.
///
/// ```text
/// 1763833713.123 SOCK5.1080 00000 joe 192.0.2.7:50123 198.51.100.1:443 517 4213 0 CONNECT example.com:443
/// ```
///
/// * when it ended, in seconds since 1970;
/// * the protocol (`SOCK4`, `SOC45` for SOCKS4a, `SOCK5`, `PROXY` for HTTP,
///   `SOCKS` if it is not known) and the port where the client reached us;
/// * a code for the end, see below;
/// * the user, `-` if nobody was asked;
/// * the client, by a PROXY header if one was believed;
/// * the other end of the tunnel, or else the target's address, 0.0.0.0 if it
///   has none;
/// * bytes from the client, and to the client;
/// * redirections, which are always 0;
/// * what the client asked for: `CONNECT`, `BIND`, `UDPMAP` or `UNKNOWN`, and the
///   target as it named it.
///
/// | code | what |
/// |---|---|
/// | 0 | the tunnel was closed |
/// | 1 | denied by a rule |
/// | 4 | not authenticated |
/// | 10 | a limit was reached, or a quota is used up |
/// | 13 | the target could not be reached |
/// | 90 | broken by an error of ours, a panic included |
/// | 92 | a timeout of the tunnel |
/// | 94 | ended from outside, or cut by the shutdown |
/// | 95 | the client's connection broke |
/// | 96 | the target's connection broke |
/// | 100 | the name could not be looked up |
/// | 401 | the client broke the protocol |
/// | 407 | the command is not served |
/// | 441 | the negotiation took too long |
///
/// In the user and the target, blanks and what does not print are escaped as
/// Rust has it.
#[derive(Clone, Debug)]
pub struct ThreeProxy<'a>(&'a Summary<'a>);

impl<'a> ThreeProxy<'a> {
    /// The line of a session that is over.
    #[must_use]
    pub fn new(summary: &'a Summary<'a>) -> Self {
        Self(summary)
    }
}

impl fmt::Display for ThreeProxy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(summary) = self;
        let record = summary.record;
        let at = record.accepted_at + summary.duration;
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(f, "{:010}.{:03} ", at.as_secs(), at.subsec_millis())?;
        let port = record.local_addr.map_or(0, |addr| addr.port());
        write!(
            f,
            "{}.{port} {:05} ",
            service(record),
            code(summary.outcome)
        )?;
        match &record.identity {
            // Nobody else can be called so.
            Some(identity) if identity.as_str() == "-" => f.write_str("\\u{2d}")?,
            Some(identity) if identity.as_str().is_empty() => f.write_str("\"\"")?,
            Some(identity) => Escaped(identity.as_str()).fmt(f)?,
            None => f.write_char('-')?,
        }
        let (client, upstream) = (record.client_addr, upstream(record));
        write!(f, " {} {} ", Addr(client), Addr(upstream))?;
        let bytes = |direction| summary.bytes(direction).unwrap_or_default();
        let (up, down) = (bytes(Direction::Up), bytes(Direction::Down));
        write!(f, "{up} {down} 0 {}", command(record.command))?;
        match &record.target {
            Some(target) => write!(f, " {}", Escaped(target)),
            None => Ok(()),
        }
    }
}

/// 3proxy's names of services.
fn service(record: &Record) -> &'static str {
    match record.protocol {
        Some(Protocol::Socks4) => "SOCK4",
        Some(Protocol::Socks4a) => "SOC45",
        Some(Protocol::Socks5) => "SOCK5",
        Some(Protocol::Other(other)) => other.name(),
        Some(protocol) if protocol.name() == "http" => "PROXY",
        _ => "SOCKS",
    }
}

/// 3proxy's names of commands.
fn command(command: Option<Command>) -> &'static str {
    match command {
        Some(Command::CONNECT) => "CONNECT",
        Some(Command::BIND) => "BIND",
        Some(Command::UDP_ASSOCIATE) => "UDPMAP",
        _ => "UNKNOWN",
    }
}

/// Of its codes, those that say most nearly what happened.
fn code(outcome: Outcome<'_>) -> u16 {
    match outcome {
        Outcome::Done(end) => match end {
            End::Closed => 0,
            End::ClientReset => 95,
            End::UpstreamReset => 96,
            End::IdleTimeout | End::HalfClosedTimeout | End::LifetimeExceeded => 92,
            End::QuotaExceeded => 10,
            End::EndedByTap => 1,
        },
        Outcome::Failed(failure) => match failure.kind() {
            ErrorKind::Denied => 1,
            ErrorKind::Authentication => 4,
            ErrorKind::Limited => 10,
            ErrorKind::Connect | ErrorKind::Upstream => 13,
            ErrorKind::Authorize | ErrorKind::Relay | ErrorKind::Other => 90,
            ErrorKind::Ended => 94,
            ErrorKind::ClientGone => 95,
            ErrorKind::Resolve => 100,
            ErrorKind::Protocol => 401,
            ErrorKind::Command => 407,
            ErrorKind::Deadline => 441,
        },
        Outcome::Cut => 94,
        Outcome::Panicked => 90,
    }
}

fn upstream(record: &Record) -> Option<SocketAddr> {
    record.upstream_addr.or_else(|| {
        let target = record.target.as_ref()?;
        match target.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, target.port)),
            Host::Name(_) => Some((Ipv4Addr::UNSPECIFIED, target.port).into()),
        }
    })
}

/// IPv6 without brackets, as 3proxy has it.
struct Addr(Option<SocketAddr>);

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = self.0.map_or_else(
            || (IpAddr::from(Ipv4Addr::UNSPECIFIED), 0),
            |addr| (addr.ip(), addr.port()),
        );
        write!(f, "{ip}:{port}")
    }
}

/// Without blanks, and without what does not print.
struct Escaped<T>(T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Escapes what is written through it.
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

        impl fmt::Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"'".contains(&byte);
                if text.bytes().all(plain) {
                    return self.0.write_str(text);
                }
                for char in text.chars() {
                    match char {
                        ' ' => self.0.write_str("\\u{20}")?,
                        // Kept, for the sake of names in many scripts.
                        char => write!(self.0, "{}", char.escape_debug())?,
                    }
                }
                Ok(())
            }
        }

        write!(Escaping(f), "{}", self.0)
    }
}
