//! How targets are reached: directly, through other proxies, or not at all.

use std::{error::Error, sync::Arc, time::Duration};

use rustls::ClientConfig;
use socks_tower::{
    AuthorizeLayer, BoxError, BoxStream, Connector, DomainName, Host, IpNet, LoopGuard, Match,
    NameRules, Outbound, Pinned, ProxyConnector, ProxyUrl, Request, ResolveLayer, Routes, Rules,
    TcpConnector, UpstreamPool,
};
use tower::{ServiceBuilder, util::Either};

use crate::{admin::Watch, config::Config, names::Addrs, tls};

/// What `--upstream` and `--route` say.
#[derive(Clone)]
pub struct WaysOut {
    upstreams: Vec<ProxyUrl>,
    routes: Vec<Route>,
    /// To proxies that want it.
    tls: Option<Arc<ClientConfig>>,
}

#[derive(Clone)]
struct Route {
    on: Match,
    to: Way,
}

#[derive(Clone)]
enum Way {
    Through(ProxyUrl),
    Direct,
    Nowhere,
}

/// None if everything goes out directly. No error shows a password.
pub fn read(config: &Config) -> Result<Option<WaysOut>, Box<dyn Error>> {
    if config.upstream.is_empty() && config.route.is_empty() {
        return Ok(None);
    }
    let upstreams = config.upstream.iter().enumerate().map(|(number, url)| {
        let at = config.said.member("upstream", number);
        let url = url.reveal().map_err(|error| format!("{at}: {error}"))?;
        let url = url.parse::<ProxyUrl>();
        url.map_err(|error| format!("{at}: {error}").into())
    });
    let routes = config.route.iter().enumerate().map(|(number, route)| {
        let at = config.said.member("route", number);
        let route = route.reveal().map_err(|error| format!("{at}: {error}"))?;
        Route::parse(&route).map_err(|error| format!("{at}: {error}").into())
    });
    let upstreams = upstreams.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let routes = routes.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let through = routes.iter().filter_map(|route| match &route.to {
        Way::Through(url) => Some(url),
        Way::Direct | Way::Nowhere => None,
    });
    let wants_tls = upstreams.iter().chain(through).any(ProxyUrl::is_over_tls);
    Ok(Some(WaysOut {
        tls: wants_tls
            .then(|| tls::trusting("an upstream (https://)"))
            .transpose()?,
        upstreams,
        routes,
    }))
}

impl Route {
    fn parse(text: &str) -> Result<Self, Box<dyn Error>> {
        let (on, to) = text
            .split_once('=')
            .ok_or("not SUFFIX=WAY or CIDR=WAY, where WAY is a URL, direct or deny")?;
        Ok(Self {
            // It is not shown: of a URL in its place, it may be half of the password.
            on: matching(on)?,
            to: match to {
                "direct" => Way::Direct,
                "deny" => Way::Nowhere,
                url => Way::Through(url.parse()?),
            },
        })
    }
}

/// `example.com`, `*.example.com` and `.example.com` are all the same, as `*` is
/// everything.
fn matching(on: &str) -> Result<Match, Box<dyn Error>> {
    if on == "*" {
        return Ok(Match::any());
    }
    if on.contains('/') {
        let net: IpNet = on.parse()?;
        return Ok(Match::any().network(net));
    }
    let suffix = on.strip_prefix('*').unwrap_or(on);
    let suffix = suffix.strip_prefix('.').unwrap_or(suffix);
    if suffix.contains('*') {
        return Err("an asterisk stands in front of a suffix only".into());
    }
    if !suffix.is_ascii() {
        return Err("clients send international names in their encoded form, xn--…".into());
    }
    Ok(match Host::parse(suffix)? {
        Host::Ip(ip) => Match::any().network(ip.into()),
        Host::Name(_) => Match::any().domain(DomainName::new(suffix)?),
    })
}

/// What all ways out share.
pub struct Shared {
    pub resolver: Addrs,
    pub guard: LoopGuard,
    pub rules: Rules,
    pub tcp: TcpConnector,
    pub timeout: Duration,
    /// Who is shown how the upstreams do.
    pub watch: Option<Watch>,
    pub tls: Option<Arc<ClientConfig>>,
}

impl WaysOut {
    /// For [`Shared`].
    pub fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }

    /// What BIND and UDP go through; none if there are routes, as those are by targets,
    /// and an association has none when its way is chosen.
    ///
    /// Their judge is asked about each peer and destination.
    pub fn for_all_commands(
        &self,
        shared: &Shared,
    ) -> Option<impl Connector<Request, Io = BoxStream> + use<>> {
        let urls = self.routes.is_empty().then(|| self.upstreams.clone())?;
        shared.through_all(urls, Shared::unjudged)
    }

    /// Whether an upstream wants names looked up here.
    pub fn looks_up(&self) -> bool {
        self.upstreams.iter().any(ProxyUrl::resolves_locally)
    }

    /// The first route that matches; else the upstreams; else `direct`.
    pub fn connector(
        self,
        config: &Config,
        direct: impl Connector<Request>,
        shared: &Shared,
    ) -> Routes {
        let mut routes = match shared.through_all(self.upstreams, Shared::through) {
            Some(upstreams) => Routes::new(upstreams),
            None => Routes::new(direct.clone()),
        };
        if config.allow_private {
            routes = routes.permit_all_special();
        }
        for net in &config.allow {
            routes = routes.permit_special(net.0);
        }
        self.routes
            .into_iter()
            .fold(routes, |routes, Route { on, to }| match to {
                Way::Through(url) => routes.to(on, shared.through(url, shared.timeout)),
                Way::Direct => routes.to(on, direct.clone()),
                Way::Nowhere => routes.deny(on),
            })
    }
}

/// Through a proxy.
trait Through:
    Connector<Request, Io = BoxStream, Response = Outbound<BoxStream>, Error = BoxError>
{
}

impl<C> Through for C where
    C: Connector<Request, Io = BoxStream, Response = Outbound<BoxStream>, Error = BoxError>
{
}

impl Shared {
    /// Through one of the proxies at `urls`, each by the connector that `member` makes.
    fn through_all<C: Through>(
        &self,
        urls: Vec<ProxyUrl>,
        member: fn(&Self, ProxyUrl, Duration) -> C,
    ) -> Option<impl Connector<Request, Io = BoxStream> + use<C>> {
        let mut urls = urls.into_iter();
        let first = urls.next()?;
        if urls.len() == 0 {
            // Its failures are told as they come: there is nobody else to ask.
            return Some(Either::Left(member(self, first, self.timeout)));
        }
        let mut pool = UpstreamPool::new().with_timeout(self.timeout);
        for (number, url) in (1..).zip([first].into_iter().chain(urls)) {
            let name = format!("{number} ({url})");
            pool = pool.with_upstream(name, member(self, url, self.timeout / 2));
        }
        if let Some(watch) = &self.watch {
            let shown = pool.clone();
            watch.show(move || shown.upstreams());
        }
        Some(Either::Right(pool))
    }

    /// Through the proxy at `url`, with as much time as that, to what the rules permit.
    fn through(&self, url: ProxyUrl, time: Duration) -> impl Through + use<> {
        let looks_up = url.resolves_locally();
        let through = self.unjudged(url, time);
        let timed = ServiceBuilder::new().timeout(time);
        if looks_up {
            let judged = timed
                .layer(ResolveLayer::new(self.resolver.clone()))
                .layer(AuthorizeLayer::new(self.rules.clone()));
            Either::Left(judged.service(through))
        } else {
            // It looks names up: they are judged as names.
            let judged = timed.layer(AuthorizeLayer::new(NameRules::new(self.rules.clone())));
            Either::Right(judged.service(through))
        }
    }

    fn unjudged(
        &self,
        url: ProxyUrl,
        time: Duration,
    ) -> impl Through
    + Connector<
        Request<Pinned>,
        Io = BoxStream,
        Response = Outbound<BoxStream>,
        Error = BoxError,
    > + use<> {
        // No rules: the operator may mean a proxy on this machine or in its networks.
        let to_proxy = ServiceBuilder::new()
            .layer(ResolveLayer::new(self.resolver.clone()))
            .layer(AuthorizeLayer::new(self.guard.clone()))
            .service(self.tcp.clone());
        // Before the time is up for everything: it knows whose fault that is.
        let mut through = ProxyConnector::new(url, to_proxy).with_timeout(time - time / 20);
        if let Some(config) = &self.tls {
            through = through.with_tls(config);
        }
        ServiceBuilder::new()
            .map_err(BoxError::from)
            .service(through)
    }
}
