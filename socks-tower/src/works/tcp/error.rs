use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use crate::session::{DialError, Refusal};

/// No connection over TCP.
///
/// When several addresses fail, it is the most telling failure: of two
/// families, the one that the machine has no route for says nothing of the
/// target. From most to least telling: the target refused or reset; nobody
/// answered in time; a router said that the host is unreachable; the machine
/// forbids it; anything else; no route or no such network on this machine. Of
/// several alike, it is the one that failed first. The others are logged at
/// debug level.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The target has no address, or no rule left it one.
    #[error("the target has no address")]
    NoAddress,
    /// The target's port is 0, where nothing can listen.
    #[error("the target has port 0")]
    NoPort,
    /// It was asked for something else than CONNECT: the client hears 07.
    #[error("TCP serves CONNECT alone")]
    Command(#[source] Refusal),
    /// There are [source addresses](crate::works::egress::SourceAddrs), but none of a family
    /// that the target has.
    #[error("no source address of the target's family")]
    NoSource(#[source] DialError),
    /// The source address cannot be used: it is not this machine's, or has no
    /// port left.
    #[error("bind to {source_addr}")]
    #[non_exhaustive]
    Bind {
        /// The source address.
        source_addr: IpAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The socket cannot be set up as the [`Egress`](crate::Egress) wants it: a right
    /// is missing, or the interface is.
    #[error("set up the socket for {addr}")]
    #[non_exhaustive]
    Egress {
        /// The address that was to be dialled.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The target cannot be reached, or no socket was to be had.
    #[error("connect to {addr}")]
    #[non_exhaustive]
    Dial {
        /// The address that was dialled.
        addr: SocketAddr,
        /// What the system says.
        source: DialError,
    },
}

impl ConnectError {
    /// What the failed race for a connection is reported as.
    pub(super) fn most_telling(failures: Vec<(SocketAddr, Self)>) -> Self {
        for (addr, error) in &failures {
            let cause = error.io().map(tracing::field::display);
            tracing::debug!(%addr, %error, cause, "address failed");
        }
        let failures = failures.into_iter().map(|(_, error)| error);
        failures.min_by_key(Self::rank).unwrap_or(Self::NoAddress)
    }

    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Bind { source, .. } | Self::Egress { source, .. } => Some(source),
            Self::Dial { source, .. } | Self::NoSource(source) => Some(source.get_ref()),
            Self::NoAddress | Self::NoPort | Self::Command(_) => None,
        }
    }

    /// 0 is the most telling.
    fn rank(&self) -> u8 {
        use io::ErrorKind as Kind;
        match self.io().map(io::Error::kind) {
            Some(Kind::ConnectionRefused | Kind::ConnectionReset) => 0,
            Some(Kind::TimedOut) => 1,
            Some(Kind::HostUnreachable) => 2,
            Some(Kind::PermissionDenied) => 3,
            Some(Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable) => 5,
            _ => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_telling(kinds: &[io::ErrorKind]) -> io::ErrorKind {
        let failures = kinds.iter().zip(1..).map(|(kind, port)| {
            let addr = SocketAddr::from(([192, 0, 2, 1], port));
            let source = DialError::from(*kind);
            (addr, ConnectError::Dial { addr, source })
        });
        let error = ConnectError::most_telling(failures.collect());
        error.io().unwrap().kind()
    }

    #[test]
    fn what_the_target_says_tells_more_than_what_we_lack() {
        use io::ErrorKind as Kind;
        let order = [
            Kind::ConnectionRefused,
            Kind::TimedOut,
            Kind::HostUnreachable,
            Kind::PermissionDenied,
            Kind::OutOfMemory,
            Kind::NetworkUnreachable,
        ];
        for (place, kind) in order.iter().enumerate() {
            for less in &order[place..] {
                assert_eq!(most_telling(&[*kind, *less]), *kind);
                assert_eq!(most_telling(&[*less, *kind]), *kind);
            }
        }
    }

    #[test]
    fn of_failures_alike_the_first_is_told() {
        let failure = |port| {
            let addr = SocketAddr::from(([192, 0, 2, 1], port));
            let source = io::ErrorKind::ConnectionRefused.into();
            (addr, ConnectError::Dial { addr, source })
        };
        let error = ConnectError::most_telling(vec![failure(7), failure(8)]);
        assert_eq!(error.to_string(), "connect to 192.0.2.1:7");
    }
}
