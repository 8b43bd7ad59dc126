//! A chain of three.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use socks_tests::{
    content::Content,
    origin::{Origin, V4},
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ConnectLayer, Connector, Credentials, DomainName,
    HandshakeLayer, HttpConnectLayer, HttpConnector, NameRules, NoAuth, Relay, Request,
    ResolveLayer, Rules, Socks4Connector, Socks5Connector, Target, TcpConnector, Users,
    works::upstream::Offer, works::upstream::connect,
};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tower::{Layer, ServiceBuilder, service_fn};

const PAGE: Content = Content::mib(64);

/// The names that a hop has looked up.
#[derive(Clone, Debug, Default)]
struct Names(Arc<Mutex<Vec<String>>>);

impl Names {
    /// Looks all names up, and has them lead to 127.0.0.1.
    fn connector(&self) -> impl Connector<Request, Io = TcpStream> + Sync + use<> {
        let names = self.clone();
        let resolver = service_fn(move |request: Request<DomainName>| {
            names.0.lock().unwrap().push(request.target.to_string());
            async { Ok::<[IpAddr; 1], std::convert::Infallible>([V4]) }
        });
        ResolveLayer::new(resolver).layer(TcpConnector::new())
    }

    fn assert_are(&self, expected: &[&str]) {
        assert_eq!(*self.0.lock().unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_three_carries_64_mib_and_each_hop_resolves_at_its_end() {
    let [ours, first, second, third]: [Names; 4] = Default::default();
    let users = Users::new().with("joe", "secret").unwrap();
    let with_password = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(users))
        .layer(ConnectLayer::new(first.connector()))
        .service(Relay::new());
    let http = ServiceBuilder::new()
        .layer(HttpConnectLayer::open())
        .layer(ConnectLayer::new(second.connector()))
        .service(Relay::new());
    let socks = |connector| {
        ServiceBuilder::new()
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .layer(ConnectLayer::new(connector))
            .service(Relay::new())
    };
    let proxies = (
        Proxy::spawn(with_password).await,
        Proxy::spawn(http).await,
        Proxy::spawn(socks(third.connector())).await,
    );
    let named = |name: &str, proxy: &Proxy| {
        Target::new(name.parse::<DomainName>().unwrap(), proxy.addr().port())
    };

    let to_first = Socks5Connector::new(named("first.test", &proxies.0), ours.connector())
        .with_credentials(Credentials::new("joe", "secret").unwrap());
    let to_second = HttpConnector::new(named("second.test", &proxies.1), to_first);
    let chain = Socks4Connector::new(named("third.test", &proxies.2), to_second);
    // Plain TCP, whatever it leads through: that is what is spliced.
    fn is_plain<C: Connector<Request, Io = TcpStream>>(_: &C) {}
    is_plain(&chain);

    // What clients ask for is judged, the operator's own hops on loopback are not.
    let judged = AuthorizeLayer::new(NameRules::new(Rules::new())).layer(chain);
    let front = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(judged))
        .service(Relay::new());
    let front = Proxy::spawn(front).await;

    // It speaks first, and ends.
    let origin = Origin::serve(V4, |mut stream| async move {
        for chunk in PAGE.chunks() {
            tokio::io::AsyncWriteExt::write_all(&mut stream, &chunk)
                .await
                .unwrap();
        }
    })
    .await;
    let mut tunnel = TcpStream::connect(front.addr()).await.unwrap();
    let target = Target::new(
        "target.example".parse::<DomainName>().unwrap(),
        origin.port(),
    );
    connect(&mut tunnel, Offer::none(), target).await.unwrap();
    let mut page = Vec::with_capacity(PAGE.len());
    tunnel.read_to_end(&mut page).await.unwrap();
    PAGE.assert_is(&page);

    ours.assert_are(&["first.test"]);
    first.assert_are(&["second.test"]);
    second.assert_are(&["third.test"]);
    third.assert_are(&["target.example"]);

    for private in ["127.0.0.1:80", "localhost:80", "[::ffff:7f00:1]:80"] {
        let mut tunnel = TcpStream::connect(front.addr()).await.unwrap();
        let asked = connect(&mut tunnel, Offer::none(), private.parse().unwrap()).await;
        let code = asked.unwrap_err().code();
        assert_eq!(code, Some(socks_tower::ReplyCode::CONNECTION_NOT_ALLOWED));
    }
    third.assert_are(&["target.example"]);
}
