use std::{io, net::IpAddr};

use socks_core::{DomainName, Host};
use tower_service::Service;

use super::{Asker, SystemResolver, SystemResolverFuture};
use crate::{
    session::{Request, always_ready},
    works::resolve::LookupError,
};

/// Finds the names of addresses, as `getnameinfo` does: one name at most.
///
/// [`SystemResolver::reverse`] makes it. Threads, bounds and deadline are that
/// resolver's. A name is what whoever runs the address's network says, and
/// proves nothing.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use socks_tower::{Command, Request, Session, SystemResolver};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reverse = SystemResolver::new().reverse();
/// let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
/// let asked = Request::new(Session::new(), Command::RESOLVE_PTR, ip);
/// let names = reverse.oneshot(asked).await?;
/// assert_eq!(names.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReverseResolver {
    resolver: SystemResolver,
}

impl SystemResolver {
    /// A service that finds the names of addresses, on the same threads.
    ///
    /// A type of its own: a service that takes two kinds of request leaves
    /// callers of `ready` with a question.
    #[must_use]
    pub fn reverse(self) -> ReverseResolver {
        ReverseResolver { resolver: self }
    }
}

/// The names are never none: an address without any is
/// [`LookupError::NotFound`].
impl Service<Request<IpAddr>> for ReverseResolver {
    type Response = Vec<DomainName>;
    type Error = LookupError;
    type Future = SystemResolverFuture<Vec<DomainName>>;

    always_ready!();

    fn call(&mut self, request: Request<IpAddr>) -> Self::Future {
        let ip = request.target.to_canonical();
        let asker = Asker::of(&request.session);
        self.resolver.ask(asker, ip.into(), |found| {
            let names = found.into_iter().filter_map(|found| match found {
                Host::Name(name) => Some(name),
                Host::Ip(_) => None,
            });
            names.collect()
        })
    }
}

pub(super) fn getnameinfo(ip: IpAddr) -> io::Result<Vec<Host>> {
    names(&dns_lookup::lookup_addr(&ip)?)
}

/// What may be handed on of the name that an address's network gives it.
fn names(name: &str) -> io::Result<Vec<Host>> {
    match Host::parse(name) {
        Ok(name @ Host::Name(_)) => Ok(vec![name]),
        // It would read as another address.
        Ok(Host::Ip(_)) => Ok(Vec::new()),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socks_core::v5::Command;
    use tower::ServiceExt;

    use super::*;
    use crate::session::Session;

    fn asked(ip: IpAddr) -> Request<IpAddr> {
        Request::new(Session::new(), Command::RESOLVE_PTR, ip)
    }

    #[tokio::test]
    async fn loopback_has_the_name_that_the_system_gives_it() {
        let reverse = SystemResolver::new().reverse();
        let ip = Ipv4Addr::LOCALHOST;
        for ip in [IpAddr::V4(ip), IpAddr::V6(ip.to_ipv6_mapped())] {
            let found = reverse.clone().oneshot(asked(ip)).await.unwrap();
            assert!(found[0].as_str().starts_with("localhost"), "{found:?}");
        }
    }

    #[test]
    fn a_name_that_is_spelt_as_an_address_is_none() {
        assert_eq!(names("db.example").unwrap()[0].to_string(), "db.example");
        for spelling in ["127.0.0.1", "0x7f.1", "::1", "2130706433"] {
            assert_eq!(names(spelling).unwrap(), [], "{spelling}");
        }
        for bad in ["", "a\r\nb", "a b"] {
            let error = names(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:?}");
        }
    }
}
