use std::{fmt, sync::Arc};

use ipnet::IpNet;
use socks_core::DomainName;
use tower_service::Service;

use crate::{
    session::{
        AnyConnector, BoxError, BoxStream, BoxWork, Connector, Error, Outbound, Request,
        always_ready, opaque_future,
    },
    works::authorize::{Match, NameRules, RuleSet},
};

/// One of several connectors, by the request. See the [module's page](super).
///
/// Cheap to clone: build it once.
#[derive(Clone)]
pub struct Routes {
    /// A rule for each route, which allows or denies.
    rules: NameRules,
    /// Where each of them leads to.
    ends: Arc<Vec<Option<AnyConnector>>>,
    otherwise: AnyConnector,
}

impl Routes {
    /// All that no route is about goes to `otherwise`.
    pub fn new(otherwise: impl Connector<Request>) -> Self {
        Self {
            rules: NameRules::default(),
            ends: Arc::default(),
            otherwise: AnyConnector::new(otherwise),
        }
    }

    /// What matches goes to `connector`, if no route before it matches.
    #[must_use]
    pub fn to(mut self, on: Match, connector: impl Connector<Request>) -> Self {
        self.rules = self.rules.map(|rules| rules.allow(on));
        Arc::make_mut(&mut self.ends).push(Some(AnyConnector::new(connector)));
        self
    }

    /// What matches goes nowhere, if no route before it matches.
    #[must_use]
    pub fn deny(mut self, on: Match) -> Self {
        self.rules = self.rules.map(|rules| rules.deny(on));
        Arc::make_mut(&mut self.ends).push(None);
        self
    }

    /// Lets the special-purpose addresses in `net` through to the routes, as
    /// [`Rules::permit_special`](crate::Rules::permit_special) does.
    #[must_use]
    pub fn permit_special(mut self, net: IpNet) -> Self {
        self.rules = self.rules.map(|rules| rules.permit_special(net));
        self
    }

    /// Lets all special-purpose addresses and local names through to the routes.
    #[must_use]
    pub fn permit_all_special(mut self) -> Self {
        self.rules = self.rules.map(|rules| rules.permit_all_special());
        self
    }

    /// Lets `domain` and what is beneath it through to the routes, although it is a
    /// local name.
    #[must_use]
    pub fn permit_local(mut self, domain: DomainName) -> Self {
        self.rules = self.rules.permit_local(domain);
        self
    }

    fn choose(&self, request: &Request) -> Result<&AnyConnector, Error> {
        let number = self.rules.decide(request)?;
        let end = number.and_then(|number| self.ends.get(number)?.as_ref());
        Ok(end.unwrap_or(&self.otherwise))
    }
}

impl RuleSet for Routes {
    /// Builds the index.
    fn prepare(&self) {
        self.rules.prepare();
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

opaque_future! {
    /// The future of [`Routes`].
    RoutesFuture<> -> Result<Outbound<BoxStream>, BoxError> = BoxWork<Outbound<BoxStream>>
}

/// # Errors
///
/// [`Denied`](crate::Denied), in an [`Error`]; else those of the chosen connector.
impl Service<Request> for Routes {
    type Response = Outbound<BoxStream>;
    type Error = BoxError;
    type Future = RoutesFuture;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        RoutesFuture::new(match self.choose(&request) {
            Ok(end) => end.clone().call(request),
            Err(error) => Box::pin(async { Err(error.into()) }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        net::Ipv4Addr,
        task::{Context, Poll},
    };

    use socks_core::v5::Command;
    use tokio::{
        io::duplex,
        net::{TcpListener, TcpStream},
    };
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::{
        session::{ErrorKind, IntoOutbound, Session},
        test_support::MustNotBeCalled,
        works::authorize::{Group, ReloadRules},
    };

    /// A connector that is known by its local address.
    fn numbered(number: u8) -> impl Connector<Request> {
        service_fn(move |_: Request| async move {
            let addr = ([192, 0, 2, number], 1).into();
            Ok::<_, Infallible>(Outbound::new(duplex(1).0).with_local_addr(addr))
        })
    }

    fn request(session: Session, target: &str) -> Request {
        Request::new(session, Command::CONNECT, target.parse().unwrap())
    }

    /// The number of the connector that was taken; none if the target is denied.
    async fn taken(routes: impl Connector<Request>, request: Request) -> Option<u8> {
        match routes.run(request).await {
            Ok(response) => match response.into_outbound().local_addr().unwrap().ip() {
                std::net::IpAddr::V4(ip) => Some(ip.octets()[3]),
                std::net::IpAddr::V6(_) => unreachable!(),
            },
            Err(error) => {
                assert_eq!(Error::from_box(error).kind(), ErrorKind::Denied);
                None
            }
        }
    }

    fn net(net: &str) -> IpNet {
        net.parse().unwrap()
    }

    #[tokio::test]
    async fn the_first_route_that_matches_is_taken() {
        let group = Group::parse("group", "*.group.example\n198.51.100.0/24").unwrap();
        let domain = |name: &str| Match::any().domain(name.parse().unwrap());
        let routes = Routes::new(numbered(0))
            .to(Match::any().host("a.example".parse().unwrap()), numbered(1))
            .deny(domain("ads.a.example"))
            .to(domain("a.example").port(443), numbered(2))
            .to(Match::any().network(net("203.0.113.0/24")), numbered(3))
            .to(Match::any().within(&group), numbered(4))
            .to(Match::any().identity("ann"), numbered(5))
            .to(Match::any().client(net("192.0.2.0/24")), numbered(6))
            .deny(Match::any().port(25));
        let ann = Session::new().with_identity("ann".into());
        let office = Session::new().with_client_addr((Ipv4Addr::new(192, 0, 2, 7), 1).into());
        let nobody = Session::new();
        for (session, target, expected) in [
            (&nobody, "elsewhere.example:80", Some(0)),
            (&nobody, "A.example.:80", Some(1)),
            (&nobody, "x.ads.a.example:443", None),
            (&nobody, "x.a.example:443", Some(2)),
            (&nobody, "x.a.example:80", Some(0)),
            (&nobody, "203.0.113.9:80", Some(3)),
            // In every spelling that somebody reads as an address.
            (&nobody, "0xcb.0.0x7109:80", Some(3)),
            (&nobody, "3405803785:80", Some(3)),
            (&nobody, "[::ffff:203.0.113.9]:80", Some(3)),
            (&nobody, "x.group.example:80", Some(4)),
            (&nobody, "198.51.100.1:80", Some(4)),
            (&ann, "elsewhere.example:80", Some(5)),
            (&ann, "a.example:80", Some(1)),
            (&office, "elsewhere.example:25", Some(6)),
            (&nobody, "elsewhere.example:25", None),
        ] {
            let request = request(session.clone(), target);
            assert_eq!(taken(routes.clone(), request).await, expected, "{target}");
        }
    }

    #[tokio::test]
    async fn what_is_private_is_denied_on_every_route_until_it_is_lifted() {
        let everything = Match::any;
        let routes = Routes::new(MustNotBeCalled).to(everything(), MustNotBeCalled);
        let lifted = || Routes::new(numbered(0)).to(Match::any().port(80), numbered(1));
        let all = lifted().permit_all_special();
        for target in [
            "localhost:80",
            "LOCALHOST.:80",
            "127.0.0.1:80",
            "127.1:80",
            "0x7f000001:80",
            "2130706433:80",
            "0177.0.0.1:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::127.0.0.1]:80",
            "10.1.2.3:80",
            "169.254.169.254:80",
            "metadata.google.internal:80",
        ] {
            let request = request(Session::new(), target);
            assert_eq!(
                taken(routes.clone(), request.clone()).await,
                None,
                "{target}"
            );
            assert_eq!(taken(all.clone(), request).await, Some(1), "{target}");
        }
        let some = lifted()
            .permit_special(net("10.0.0.0/8"))
            .permit_local("lan".parse().unwrap());
        for (target, expected) in [
            ("10.1.2.3:80", Some(1)),
            ("nas.lan:80", Some(1)),
            ("127.0.0.1:80", None),
            ("localhost:80", None),
        ] {
            let request = request(Session::new(), target);
            assert_eq!(taken(some.clone(), request).await, expected, "{target}");
        }
    }

    #[tokio::test]
    async fn a_connector_that_is_not_ready_holds_up_no_other() {
        #[derive(Clone)]
        struct NeverReady;

        impl Service<Request> for NeverReady {
            type Response = TcpStream;
            type Error = Infallible;
            type Future = std::future::Pending<Result<TcpStream, Infallible>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Pending
            }

            fn call(&mut self, _: Request) -> Self::Future {
                unreachable!("not ready")
            }
        }

        let routes = Routes::new(numbered(0)).to(Match::any().port(25), NeverReady);
        let request = request(Session::new(), "a.example:80");
        assert_eq!(taken(routes, request).await, Some(0));
    }

    #[tokio::test]
    async fn a_connector_is_readied_before_it_is_called() {
        let (connector, mut handle) = tower_test::mock::pair::<Request, TcpStream>();
        let connector = ServiceExt::<Request>::map_err(
            tower::buffer::Buffer::new(connector, 1),
            BoxError::from,
        );
        let routes = Routes::new(connector);
        let asked = tokio::spawn(routes.oneshot(request(Session::new(), "a.example:80")));
        let (_, answer) = handle.next_request().await.unwrap();
        answer.send_error("no");
        assert_eq!(asked.await.unwrap().unwrap_err().to_string(), "no");
    }

    #[tokio::test]
    async fn tcp_stays_tcp_beside_another_kind_of_stream() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tcp = service_fn(move |_: Request| TcpStream::connect(addr));
        let routes = Routes::new(numbered(0)).to(Match::any().port(80), tcp);

        let plain = routes
            .clone()
            .oneshot(request(Session::new(), "a.example:80"));
        let plain = plain.await.unwrap();
        let local = plain.tcp().unwrap().local_addr().unwrap();
        assert_eq!(plain.local_addr(), Some(local));

        let other = routes.oneshot(request(Session::new(), "a.example:81"));
        assert!(other.await.unwrap().tcp().is_none());
    }

    #[tokio::test]
    async fn routes_are_replaced_while_they_serve() {
        let handle = ReloadRules::new(Routes::new(numbered(1)));
        let ask = || taken(handle.clone(), request(Session::new(), "a.example:80"));
        assert_eq!(ask().await, Some(1));
        handle.replace(Routes::new(numbered(1)).to(Match::any(), numbered(2)));
        assert_eq!(ask().await, Some(2));
        handle.replace(Routes::new(numbered(1)).deny(Match::any()));
        assert_eq!(ask().await, None);
    }

    #[tokio::test]
    async fn ten_thousand_routes_are_told_apart() {
        let mut routes = Routes::new(numbered(0));
        for number in 0..10_000 {
            let domain = format!("n{number}.example").parse().unwrap();
            let connector = numbered(u8::try_from(1 + number % 200).unwrap());
            routes = routes.to(Match::any().domain(domain), connector);
        }
        for number in [0, 1, 199, 200, 5000, 9999] {
            let target = format!("x.n{number}.example:80");
            let expected = u8::try_from(1 + number % 200).unwrap();
            let request = request(Session::new(), &target);
            assert_eq!(taken(routes.clone(), request).await, Some(expected));
        }
    }
}
