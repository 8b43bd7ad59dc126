//! Knows some names by itself, and asks another resolver for the rest.
//!
//! Use it for names that no name server has, or that it must not be asked for:
//! what `/etc/hosts` does for the machine, for one proxy.
//!
//! # Example
//!
//! ```
//! use socks_tower::{Command, DomainName, HostsLayer, Request, Session, SystemResolver};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hosts = HostsLayer::new()
//!     .with_host("db.internal".parse()?, ["192.0.2.7".parse()?, "2001:db8::7".parse()?])
//!     .with_host("blocked.example".parse()?, []);
//! let resolver = ServiceBuilder::new().layer(hosts).service(SystemResolver::new());
//!
//! let name = DomainName::new("DB.internal.")?;
//! let addrs = resolver.oneshot(Request::new(Session::new(), Command::CONNECT, name)).await?;
//! assert_eq!(addrs.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - Names are equal whatever their case, with and without a dot at the end,
//!   and whole: `www.db.internal` is another name.
//! - A name with an empty list has no address: nobody else is asked for it.
//! - The addresses pass the same rules as any other's. A private one is refused
//!   by the default rules, unless they are told to let it through.
//! - The names are fixed once the layer stands. To change them in a running
//!   proxy, put your own service in front of the resolver.

use std::{
    collections::HashMap,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use socks_core::DomainName;
use tower_layer::Layer;
use tower_service::Service;

use crate::session::Request;

type Names = HashMap<DomainName, Vec<IpAddr>>;

/// Puts static names in front of a resolver; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct HostsLayer {
    names: Arc<Names>,
}

impl HostsLayer {
    /// No names yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `name` these addresses, in the order in which they are to be
    /// tried, in place of any that it had.
    #[must_use]
    pub fn with_host(mut self, name: DomainName, addrs: impl IntoIterator<Item = IpAddr>) -> Self {
        Arc::make_mut(&mut self.names).insert(name, addrs.into_iter().collect());
        self
    }
}

impl<R> Layer<R> for HostsLayer {
    type Service = Hosts<R>;

    fn layer(&self, inner: R) -> Hosts<R> {
        Hosts {
            names: self.names.clone(),
            inner,
        }
    }
}

/// A resolver with static names; see the [module](self).
///
/// Cheap to clone: clones share the names.
#[derive(Clone, Debug)]
pub struct Hosts<R> {
    names: Arc<Names>,
    inner: R,
}

/// Its errors are the inner resolver's, as they are.
impl<R> Service<Request<DomainName>> for Hosts<R>
where
    R: Service<Request<DomainName>, Response: IntoIterator<Item = IpAddr>>,
{
    type Response = Vec<IpAddr>;
    type Error = R::Error;
    type Future = HostsFuture<R::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<DomainName>) -> Self::Future {
        match self.names.get(&request.target) {
            Some(addrs) => HostsFuture::known(addrs.clone()),
            None => HostsFuture::asked(self.inner.call(request)),
        }
    }
}

pin_project! {
    /// A lookup under way, or its answer.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct HostsFuture<F> {
        #[pin]
        inner: Option<F>,
        known: Vec<IpAddr>,
    }
}

impl<F> HostsFuture<F> {
    fn known(known: Vec<IpAddr>) -> Self {
        Self { inner: None, known }
    }

    fn asked(inner: F) -> Self {
        Self {
            inner: Some(inner),
            known: Vec::new(),
        }
    }
}

impl<F, A, E> Future for HostsFuture<F>
where
    F: Future<Output = Result<A, E>>,
    A: IntoIterator<Item = IpAddr>,
{
    type Output = Result<Vec<IpAddr>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll(cx)).map(|addrs| addrs.into_iter().collect()),
            None => Ok(std::mem::take(this.known)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use socks_core::v5::Command;
    use tower::{ServiceExt, service_fn};
    use tower_test::mock;

    use super::*;
    use crate::session::Session;

    fn name(name: &str) -> DomainName {
        DomainName::new(name).unwrap()
    }

    fn asked(host: &str) -> Request<DomainName> {
        Request::new(Session::new(), Command::CONNECT, name(host))
    }

    fn ip(ip: &str) -> IpAddr {
        ip.parse().unwrap()
    }

    fn hosts() -> HostsLayer {
        HostsLayer::new()
            .with_host(name("db.internal"), [ip("192.0.2.7"), ip("2001:db8::7")])
            .with_host(name("none.internal"), [])
    }

    #[tokio::test]
    async fn known_names_ask_nobody() {
        let nobody = service_fn(
            |Request { target: name, .. }: Request<DomainName>| async move {
                panic!("{name} was asked for") as Result<Vec<IpAddr>, Infallible>
            },
        );
        let resolver = hosts().layer(nobody);
        for spelling in ["db.internal", "DB.Internal", "db.internal."] {
            let addrs = resolver.clone().oneshot(asked(spelling)).await.unwrap();
            assert_eq!(addrs, [ip("192.0.2.7"), ip("2001:db8::7")]);
        }
        let addrs = resolver.oneshot(asked("none.internal")).await.unwrap();
        assert_eq!(addrs, [""; 0].map(ip));
    }

    #[tokio::test]
    async fn other_names_go_to_the_inner_resolver() {
        let inner = service_fn(
            |Request { target: name, .. }: Request<DomainName>| async move {
                match name.as_str() {
                    "www.db.internal" => Ok([ip("192.0.2.99")]),
                    _ => Err("not found"),
                }
            },
        );
        let resolver = hosts().layer(inner);
        let found = resolver.clone().oneshot(asked("www.db.internal")).await;
        assert_eq!(found, Ok(vec![ip("192.0.2.99")]));
        let found = resolver.oneshot(asked("b.internal")).await;
        assert_eq!(found, Err("not found"));
    }

    #[tokio::test]
    async fn it_is_ready_when_the_inner_resolver_is() {
        let (inner, mut handle) = mock::spawn_with(|inner| hosts().layer(inner));
        let mut resolver: mock::Spawn<Hosts<mock::Mock<Request<DomainName>, Vec<IpAddr>>>> = inner;
        handle.allow(0);
        assert!(resolver.poll_ready().is_pending());
        handle.allow(1);
        assert!(resolver.poll_ready().is_ready());
    }

    #[test]
    fn a_later_entry_replaces_the_earlier_and_clones_keep_theirs() {
        let before = hosts();
        let after = before.clone().with_host(name("DB.internal"), [ip("::1")]);
        assert_eq!(before.names[&name("db.internal")].len(), 2);
        assert_eq!(after.names[&name("db.internal")], [ip("::1")]);
    }
}
