//! How connections and datagrams leave.

use socks_tower::{Egress, works::egress::SourceAddrs};

use crate::config::{Config, SourceBy};

pub fn of(config: &Config) -> Egress {
    let mut egress = Egress::new();
    if !config.source.is_empty() {
        let pool = config.source.iter().map(|net| net.0);
        let sources = pool.fold(SourceAddrs::default(), SourceAddrs::with);
        egress = egress.with_sources(match config.source_by {
            SourceBy::Turns => sources,
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
