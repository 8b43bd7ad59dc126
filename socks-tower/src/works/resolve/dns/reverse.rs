use std::{future::Future, net::IpAddr, pin::Pin};

use hickory_resolver::proto::rr::{Name, RData, RecordType};
use socks_core::{DomainName, Host};
use tokio::time::Instant;
use tower_service::Service;

use super::{DnsResolver, ask::Told};
use crate::{
    session::{Request, always_ready, opaque_future},
    works::resolve::LookupError,
};

/// Finds the names of addresses (PTR), for
/// [`TorResolvePtr`](crate::TorResolvePtr).
///
/// [`DnsResolver::reverse`] makes it. A name is what whoever runs the address's network
/// says, and proves nothing.
#[derive(Clone, Debug)]
pub struct DnsReverse {
    resolver: DnsResolver,
}

impl DnsResolver {
    /// A service that finds the names of addresses, by the same servers.
    #[must_use]
    pub fn reverse(self) -> DnsReverse {
        DnsReverse { resolver: self }
    }
}

type BoxNames = Pin<Box<dyn Future<Output = Result<Vec<DomainName>, LookupError>> + Send>>;

opaque_future! {
    /// The future of [`DnsReverse`].
    DnsReverseFuture<> -> Result<Vec<DomainName>, LookupError> = BoxNames
}

/// The names are never none: an address without any is [`LookupError::NotFound`].
impl Service<Request<IpAddr>> for DnsReverse {
    type Response = Vec<DomainName>;
    type Error = LookupError;
    type Future = DnsReverseFuture;

    always_ready!();

    fn call(&mut self, request: Request<IpAddr>) -> DnsReverseFuture {
        let ip = request.target.to_canonical();
        let lookups = self.resolver.lookups().clone();
        DnsReverseFuture::new(Box::pin(async move {
            let known = lookups.hosts().map(|hosts| hosts.names_of(ip));
            let names = match known {
                Some(known) if !known.is_empty() => known,
                _ => {
                    let begun = Instant::now();
                    let name = Name::from(ip);
                    let asked = lookups.client().servers.ask(&name, RecordType::PTR);
                    match asked.await {
                        Ok(Told::Records(records, _)) => names(&records),
                        Ok(Told::Nothing(_) | Told::NoName(_)) => Vec::new(),
                        Err(trouble) => return Err(trouble.into_error(ip.into(), begun.elapsed())),
                    }
                }
            };
            if names.is_empty() {
                return Err(LookupError::not_found(ip.into()));
            }
            Ok(names)
        }))
    }
}

/// What may be handed on of the names that an address's network gives it.
fn names(records: &[RData]) -> Vec<DomainName> {
    let name = |record: &RData| match record {
        // One that reads as another address is none.
        RData::PTR(name) => match Host::parse(name.to_ascii().trim_end_matches('.')) {
            Ok(Host::Name(name)) => Some(name),
            Ok(Host::Ip(_)) | Err(_) => None,
        },
        _ => None,
    };
    records.iter().filter_map(name).collect()
}
