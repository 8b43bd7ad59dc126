//! How many connections the limit of descriptors permits.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For standard streams, listeners and the runtime; and for the pipes of busy
/// tunnels, of which there are at most 128, with two ends each.
const RESERVED: u64 = 64 + 2 * 128;

/// A UDP association may have four sockets: its connection, one for the client's
/// datagrams, and one towards each family. A tunnel has two, and while it races
/// addresses more.
const PER_CONNECTION: u64 = 4;

/// Raises the limit as far as it may be, and says what that permits.
pub fn max_connections() -> usize {
    let descriptors = descriptors();
    // With hardly any descriptors, a part of them must do.
    let reserved = RESERVED.min(descriptors / 4);
    let connections = (descriptors - reserved) / PER_CONNECTION;
    usize::try_from(connections.max(1)).unwrap_or(usize::MAX)
}

#[cfg(unix)]
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of descriptors");
            limit.current
        }
    };
    current.unwrap_or(u64::from(u32::MAX))
}

/// Windows sets no limit but memory: room for 16,304 connections, for a bound.
#[cfg(not(unix))]
fn descriptors() -> u64 {
    64 * 1024
}
