//! What a configuration comes to: all that can be wrong with it has been looked at, and
//! nothing is served yet.

use std::{error::Error, time::Duration};

use socks_tower::{
    Egress, ListenAddrs, Rules,
    front::tls::TlsLayer,
    middleware::{ClientKey, LiveLimitLayer, LockoutLayer},
};

use crate::{
    admin,
    config::{Config, Seconds, SourceBy},
    egress,
    kept::Kept,
    listen,
    names::Resolver,
    policy::{self, Groups, LimitedLayer},
    shared::Shared,
    tls,
    users::Users,
    ways_out::{self, WaysOut},
};

/// What [`stack`](crate::stack::stack) is made of.
pub struct Parts {
    /// None if nobody is asked who they are.
    pub users: Option<Users>,
    pub lockout: Option<LockoutLayer>,
    /// None if no listener speaks TLS.
    pub tls: Option<TlsLayer>,
    pub per_client: Option<LiveLimitLayer<Option<ClientKey>>>,
    /// Behind authentication.
    pub limits: LimitedLayer,
    pub rules: Rules,
    pub resolver: Resolver,
    /// None if everything goes out directly.
    pub ways_out: Option<WaysOut>,
    pub egress: Egress,
    pub listen_addrs: ListenAddrs,
    /// None if this node counts alone.
    pub shared: Option<Shared>,
}

impl Parts {
    /// What counts or remembers is taken from before, where nothing has changed about it.
    pub fn new(config: &Config, kept: &mut Kept) -> Result<Self, Box<dyn Error>> {
        agrees(config)?;
        admin::check(config)?;
        let users = Users::new(config, kept)?;
        listen::check(config, users.is_some())?;
        let egress = egress::of(config);
        egress.check()?;
        let groups = Groups::new(config)?;
        let shared = Shared::new(config, kept)?;
        let limits = policy::limits(config, &groups, shared.as_ref(), kept)?;
        let together = shared.as_ref();
        let together = together.and_then(|shared| policy::together(config, &limits, shared));
        let per_client = config.max_connections_per_client;
        Ok(Self {
            users,
            lockout: lockout(config, shared.as_ref(), kept),
            tls: tls::layer(config)?,
            per_client: per_client.map(|max| {
                kept.or_made("max-connections-per-client", max, || {
                    LiveLimitLayer::per_client(max.get())
                })
            }),
            limits: LimitedLayer::new(limits, together),
            rules: policy::rules(config, &groups)?,
            resolver: Resolver::new(config, kept)?,
            ways_out: ways_out::read(config)?,
            egress,
            listen_addrs: listen::for_clients(config)?,
            shared,
        })
    }
}

/// Keys that say nothing without others, or against them.
fn agrees(config: &Config) -> Result<(), String> {
    let at = |key| config.said.at(key);
    if config.lockout_after.is_some() && !config.has_users() {
        // Who asks for this alone takes the proxy for a closed one.
        let key = at("lockout-after");
        return Err(format!(
            "{key}: without users nobody gives a password: add --user or --users"
        ));
    }
    if config.lockout_time != Seconds(60) && config.lockout_after.is_none() {
        let key = at("lockout-time");
        return Err(format!("{key}: nobody is locked out: add --lockout-after"));
    }
    let incoming = config.source_by == SourceBy::Incoming;
    if incoming && !config.source.is_empty() {
        let key = at("source");
        return Err(format!("{key}: --source-by incoming takes none"));
    }
    let chooses = !incoming && config.source_by != SourceBy::default();
    if chooses && config.source.is_empty() {
        let key = at("source-by");
        return Err(format!(
            "{key}: there is nothing to choose from: add --source <ADDR>"
        ));
    }
    let (upstreams, routes) = (!config.upstream.is_empty(), !config.route.is_empty());
    if config.bind && routes {
        let key = at("bind");
        return Err(format!("{key}: with --route, CONNECT alone is served"));
    }
    if config.resolve_commands && (upstreams || routes) {
        let key = at("resolve-commands");
        return Err(format!(
            "{key}: with --upstream or --route, names are looked up elsewhere"
        ));
    }
    Ok(())
}

fn lockout(config: &Config, shared: Option<&Shared>, kept: &mut Kept) -> Option<LockoutLayer> {
    const HOUR: Duration = Duration::from_secs(60 * 60);

    let after = config.lockout_after?;
    let first = config.lockout_time.duration();
    let link = shared.map(|shared| &shared.made_of);
    Some(kept.or_made("lockout", (after, first, link), || {
        let layer = LockoutLayer::new()
            .with_max_failures(after)
            .with_first_lock(first)
            .with_longest_lock(first.max(HOUR));
        match shared {
            Some(shared) => layer.shared(&shared.redis, "lockout"),
            None => layer,
        }
    }))
}
