//! When the kernel will ask a silent peer whether it is there. Linux only.

use std::{fs, net::SocketAddr, time::Duration};

use crate::patiently;

/// For the socket of this machine that is connected from `local`, or from
/// wherever if that is not known, to `peer`, both IPv4; none if it will not. It
/// waits until all that was sent is acknowledged.
pub async fn due(local: Option<SocketAddr>, peer: SocketAddr) -> Option<Duration> {
    let quiet = async {
        loop {
            match timer(local, peer) {
                (0, _) => return None,
                (2, due) => return Some(due),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    patiently("a quiet socket", quiet).await
}

/// The timer that is set, as proc(5) numbers them, and when it is due.
fn timer(local: Option<SocketAddr>, peer: SocketAddr) -> (u8, Duration) {
    let (local, peer) = (local.map(in_table), in_table(peer));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets = table.lines().map(|line| line.split_whitespace());
    let mut sockets = sockets.map(Iterator::collect::<Vec<_>>);
    let is_meant = |fields: &Vec<&str>| {
        let is_from_there = local.as_ref().is_none_or(|local| fields[1] == local);
        is_from_there && fields[2] == peer && fields[3] == "01"
    };
    let socket = sockets.find(is_meant).expect("connected");
    let (kind, ticks) = socket[5].split_once(':').unwrap();
    let ticks = u64::from_str_radix(ticks, 16).unwrap();
    // A tick is a hundredth of a second there.
    (kind.parse().unwrap(), Duration::from_millis(ticks * 10))
}

fn in_table(addr: SocketAddr) -> String {
    let SocketAddr::V4(addr) = addr else {
        panic!("{addr} is IPv6");
    };
    let ip = u32::from_ne_bytes(addr.ip().octets());
    format!("{ip:08X}:{:04X}", addr.port())
}
