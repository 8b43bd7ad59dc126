//! How connections and datagrams leave.

use std::net::{Ipv4Addr, Ipv6Addr};

use socks_tower::{Accepted, Egress, HasSession, works::egress::SourceAddrs};

use crate::config::{Config, SourceBy};

pub fn of(config: &Config) -> Egress {
    let mut egress = Egress::new();
    if !config.source.is_empty() {
        let pool = config.source.iter().map(|net| net.0);
        let sources = pool.fold(SourceAddrs::default(), SourceAddrs::with);
        egress = egress.with_sources(match config.source_by {
            SourceBy::Turns | SourceBy::Incoming => sources,
            SourceBy::Client => sources.by_client(),
            SourceBy::User => sources.by_identity(),
        });
    }
    if let Some(name) = &config.interface {
        egress = egress.with_interface(name.as_str());
    }
    match &config.mark {
        Some(mark) => egress.with_mark(mark.0),
        None => egress,
    }
}

/// Has a session leave from the address that its client came to. Who comes to localhost
/// leaves as `egress` has it: from there nothing reaches another machine.
pub fn as_came_to<Io>(mut accepted: Accepted<Io>, egress: &Egress) -> Accepted<Io> {
    let session = accepted.session_mut();
    let came_to = session.local_addr.map(|addr| addr.ip().to_canonical());
    if let Some(ip) = came_to.filter(|&ip| ip != Ipv4Addr::LOCALHOST && ip != Ipv6Addr::LOCALHOST) {
        session.extensions.insert(egress.clone().with_sources(ip));
    }
    accepted
}
