//! Who looks names up.

use std::{error::Error, net::IpAddr};

use socks_tower::{
    Answer, BoxError, DnsResolver, DnsServer, DnsServerError, DomainName, Request, SystemResolver,
    works::resolve::Family,
};
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use crate::{
    config::{AddressFamily, Config},
    kept::Kept,
};

/// A server of `--dns`.
#[derive(Clone)]
pub enum Dns {
    /// Those of the system's configuration.
    System,
    Server(DnsServer),
}

impl std::str::FromStr for Dns {
    type Err = DnsServerError;

    fn from_str(text: &str) -> Result<Self, DnsServerError> {
        match text {
            "system" => Ok(Self::System),
            text => text.parse().map(Self::Server),
        }
    }
}

pub type Addrs = BoxCloneSyncService<Request<DomainName>, Answer, BoxError>;

/// The addresses of names, and the names of addresses.
#[derive(Clone)]
pub struct Resolver {
    pub addrs: Addrs,
    pub names: BoxCloneSyncService<Request<IpAddr>, Vec<DomainName>, BoxError>,
}

impl Resolver {
    /// That of before, with its cache and its threads, if it would be the same.
    pub fn new(config: &Config, kept: &mut Kept) -> Result<Self, Box<dyn Error>> {
        let make = || Self::made(config);
        if config
            .dns
            .iter()
            .any(|server| matches!(**server, Dns::System))
        {
            // The system's configuration may have changed.
            return make();
        }
        let family = config.family.map(Family::from);
        kept.or_try_made("dns", (&config.dns, family), make)
    }

    fn made(config: &Config) -> Result<Self, Box<dyn Error>> {
        let family = config.family.map_or_else(Family::default, Family::from);
        let servers = config.dns.iter().filter_map(|server| match &**server {
            Dns::System => None,
            Dns::Server(server) => Some(server.clone()),
        });
        let servers: Vec<_> = servers.collect();
        if config.dns.is_empty() {
            return Ok(Self::system(family));
        }
        let resolver = match (servers.len(), config.dns.len()) {
            (0, _) => DnsResolver::system()?,
            (given, all) if given == all => DnsResolver::new(servers),
            _ => {
                let dns = config.said.at("dns");
                return Err(format!("{dns}: system cannot stand beside other servers").into());
            }
        };
        Ok(Self::dns(resolver.with_family(family)))
    }

    fn system(family: Family) -> Self {
        let resolver = SystemResolver::new().with_family(family);
        let boxed = ServiceBuilder::new().map_err(BoxError::from);
        Self {
            addrs: BoxCloneSyncService::new(
                boxed
                    .clone()
                    .map_response(|addrs: Vec<IpAddr>| Answer::new(addrs, None))
                    .service(resolver.clone()),
            ),
            names: BoxCloneSyncService::new(boxed.service(resolver.reverse())),
        }
    }

    fn dns(resolver: DnsResolver) -> Self {
        let boxed = ServiceBuilder::new().map_err(BoxError::from);
        Self {
            addrs: BoxCloneSyncService::new(resolver.clone()),
            names: BoxCloneSyncService::new(boxed.service(resolver.reverse())),
        }
    }
}

impl From<AddressFamily> for Family {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::Ipv4 => Self::Ipv4,
            AddressFamily::Ipv6 => Self::Ipv6,
            AddressFamily::PreferIpv4 => Self::PreferIpv4,
            AddressFamily::PreferIpv6 => Self::PreferIpv6,
        }
    }
}
