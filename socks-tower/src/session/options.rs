//! Socket options, of listeners and of connections.

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};

/// Whether, and when, the kernel asks a silent peer if it is still there.
///
/// A peer that does not answer any probe is gone, and the connection fails:
/// with Linux's defaults after nine probes, 75 s apart.
///
/// By default [`AFTER_A_MINUTE`](Self::AFTER_A_MINUTE), for clients and for
/// targets: most firewalls and NATs on the way forget a connection that is
/// silent for longer, and one end that has heard of it keeps the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Keepalive {
    /// Never. A peer that vanishes while it owes us nothing is not missed.
    Off,
    /// After the system's time of silence: on Linux two hours, or what
    /// `net.ipv4.tcp_keepalive_time` says. That is what NATs must wait for
    /// (RFC 5382, REQ-5), and it costs one system call less for a target.
    System,
    /// After this much silence, in whole seconds, at least one and at most
    /// 32,767 (Linux's limit).
    After(Duration),
}

impl Keepalive {
    /// After 60 seconds of silence.
    pub const AFTER_A_MINUTE: Self = Self::After(Duration::from_secs(60));

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(32_767);

    /// Sets it on a socket that is as it was made. What cannot be set is done
    /// without.
    pub(crate) fn set_on(self, socket: SockRef<'_>) {
        let set = match self {
            Self::Off => return,
            Self::System => socket.set_keepalive(true),
            Self::After(silence) => {
                let silence = silence.clamp(Self::MIN, Self::MAX);
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(silence))
            }
        };
        or_without("SO_KEEPALIVE", set);
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::AFTER_A_MINUTE
    }
}

/// Of an option that only makes things faster or dead peers noticed sooner:
/// goes on if it could not be set, as on small kernels and in sandboxes, and
/// says so once. Whether it is set.
pub(crate) fn or_without(option: &'static str, set: io::Result<()>) -> bool {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

    let Err(error) = set else {
        return true;
    };
    if SAID
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(option)
    {
        tracing::warn!(option, %error, "socket option not set: going on without");
    }
    false
}

/// Of an option that is needed: names it in the error.
pub(crate) fn needed(option: &str, set: io::Result<()>) -> io::Result<()> {
    set.map_err(|error| io::Error::new(error.kind(), format!("{option}: {error}")))
}
