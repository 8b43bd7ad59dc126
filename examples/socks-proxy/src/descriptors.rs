//! How many connections the limit of descriptors permits.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For standard streams, listeners and the runtime; and for the pipes of busy
/// tunnels, of which there are at most 128, with two ends each.
const RESERVED: u64 = 64 + 2 * 128;

/// A DNS server is asked by so many sockets, at most.
const PER_DNS_SERVER: usize = 64;

/// A UDP association may have four sockets: its connection, one for the client's
/// datagrams, and one towards each family. A tunnel has two, and while it races
/// addresses more.
const PER_CONNECTION: u64 = 4;

/// Raises the limit as far as it may be, and says what that permits beside so many DNS
/// servers.
pub fn max_connections(dns_servers: usize) -> usize {
    let descriptors = descriptors();
    let of_dns = dns_servers.saturating_mul(PER_DNS_SERVER);
    let reserved = RESERVED.saturating_add(u64::try_from(of_dns).unwrap_or(u64::MAX));
    // With hardly any descriptors, a part of them must do.
    let reserved = reserved.min(descriptors / 4);
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
