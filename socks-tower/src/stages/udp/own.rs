//! All sockets of all associations of this process, so that none sends to
//! another: a datagram could go in circles, or make itself a client.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The addresses by which a port of ours is reached.
static PORTS: Mutex<BTreeMap<u16, Vec<IpAddr>>> = Mutex::new(BTreeMap::new());

/// Grows with every address that is added.
static GENERATION: AtomicU64 = AtomicU64::new(0);

fn ports() -> MutexGuard<'static, BTreeMap<u16, Vec<IpAddr>>> {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As long as this is the same, [`is_own`] answers no where it did before.
pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

/// Whether a datagram to `addr` would come to a socket of ours.
pub(super) fn is_own(addr: SocketAddr) -> bool {
    let ips = ports().get(&addr.port()).cloned().unwrap_or_default();
    ips.iter().any(|&own| reaches(addr.ip(), own))
}

/// Whether what is sent to `ip` arrives where `own` is listened on.
fn reaches(ip: IpAddr, own: IpAddr) -> bool {
    if ip.is_ipv4() != own.is_ipv4() {
        return false;
    }
    // An unspecified destination is this host.
    ip == own || ip.is_unspecified() || own.is_unspecified() && is_local(ip)
}

/// Only an address of this host can be bound to.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// An address that counts as ours as long as this lives.
#[derive(Debug)]
pub(super) struct Registered(SocketAddr);

impl Registered {
    pub(super) fn new(addr: SocketAddr) -> Self {
        ports().entry(addr.port()).or_default().push(addr.ip());
        GENERATION.fetch_add(1, Ordering::Release);
        Self(addr)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut ports = ports();
        let Some(ips) = ports.get_mut(&self.0.port()) else {
            return;
        };
        if let Some(at) = ips.iter().position(|&ip| ip == self.0.ip()) {
            ips.swap_remove(at);
        }
        if ips.is_empty() {
            ports.remove(&self.0.port());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports that no socket of another test has.
    fn addr(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    #[test]
    fn an_address_is_ours_while_it_is_registered() {
        let before = generation();
        let first = Registered::new(addr("127.0.0.1", 1));
        let second = Registered::new(addr("127.0.0.1", 1));
        assert!(generation() >= before + 2);
        assert!(is_own(addr("127.0.0.1", 1)) && is_own(addr("0.0.0.0", 1)));
        for other in [addr("127.0.0.2", 1), addr("127.0.0.1", 2), addr("::1", 1)] {
            assert!(!is_own(other), "{other}");
        }
        drop(first);
        assert!(is_own(addr("127.0.0.1", 1)));
        drop(second);
        assert!(!is_own(addr("127.0.0.1", 1)));
    }

    #[test]
    fn a_socket_on_all_addresses_is_reached_by_those_of_this_host() {
        let _all = Registered::new(addr("0.0.0.0", 3));
        assert!(is_own(addr("127.0.0.1", 3)) && is_own(addr("127.9.9.9", 3)));
        assert!(!is_own(addr("192.0.2.1", 3)) && !is_own(addr("::1", 3)));
    }
}
