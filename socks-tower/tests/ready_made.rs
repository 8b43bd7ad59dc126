//! The ready-made proxies, with clients that we did not write: tokio-socks and
//! fast-socks5.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fast_socks5::client::Socks5Datagram;
use socks_tower::{
    BoxError, DomainName, Error, ErrorKind, ListenAddrs, NameRules, Proxy, ReplyCode, Request,
    Rules, Server, Socks, Socks4, Socks5, Socks5Connector, works::upstream::direct,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tokio_socks::{
    TargetAddr,
    tcp::{
        socks4::{Socks4Listener, Socks4Stream},
        socks5::{Socks5Listener, Socks5Stream},
    },
};
use tower::service_fn;

async fn serve<P>(proxy: P) -> SocketAddr
where
    P: Proxy<TcpStream> + Send + 'static,
{
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    addr
}

async fn resolve(request: Request<DomainName>) -> Result<[IpAddr; 1], BoxError> {
    match request.target.as_str() {
        "here.example" => Ok([IpAddr::from([127, 0, 0, 1])]),
        _ => Err("no such name".into()),
    }
}

/// Reaches loopback, and names as [`resolve`] knows them.
macro_rules! here {
    ($name:ident) => {
        $name::new()
            .with_rules(Rules::new().permit_special("127.0.0.0/8".parse().unwrap()))
            .with_resolver(service_fn(resolve))
    };
}

fn bound(addr: &TargetAddr<'_>) -> SocketAddr {
    let addr = addr.to_string();
    addr.parse().unwrap()
}

#[tokio::test]
async fn a_ready_made_proxy_serves_connect_alone_unless_told() {
    let proxy = serve(here!(Socks)).await;
    let refused = Socks5Listener::bind(proxy, "127.0.0.1:1").await.map(drop);
    assert!(matches!(
        refused,
        Err(tokio_socks::Error::CommandNotSupported)
    ));
    let refused = Socks5Stream::tor_resolve(proxy, "here.example:0").await;
    assert!(matches!(
        refused,
        Err(tokio_socks::Error::CommandNotSupported)
    ));
    let control = TcpStream::connect(proxy).await.unwrap();
    assert!(Socks5Datagram::bind(control, "127.0.0.1:0").await.is_err());
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn with_an_egress_all_commands_leave_by_it() {
    let source = IpAddr::from([127, 0, 0, 7]);
    let proxy = Socks::new()
        .with_rules(Rules::new().permit_special("127.0.0.0/8".parse().unwrap()))
        .with_egress(source)
        .with_bind()
        .with_udp();
    let proxy = serve(proxy).await;

    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = target.local_addr().unwrap();
    let _tunnel = Socks5Stream::connect(proxy, addr).await.unwrap();
    assert_eq!(target.accept().await.unwrap().1.ip(), source);

    let listener = Socks5Listener::bind(proxy, "127.0.0.1:1").await.unwrap();
    assert_eq!(bound(&listener.bind_addr()).ip(), source);

    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let control = TcpStream::connect(proxy).await.unwrap();
    let client = Socks5Datagram::bind(control, "127.0.0.1:0").await.unwrap();
    let addr = target.local_addr().unwrap();
    Box::pin(client.send_to(b"hello", addr)).await.unwrap();
    let mut heard = [0; 8];
    let received = target.recv_from(&mut heard);
    let (_, from) = timeout(Duration::from_secs(60), received)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(from.ip(), source);
}

#[tokio::test]
async fn with_bind_a_peer_comes_to_the_client_in_either_version() {
    for proxy in [
        serve(here!(Socks).with_bind()).await,
        serve(here!(Socks5).with_bind()).await,
    ] {
        let listener = Socks5Listener::bind(proxy, "here.example:21")
            .await
            .unwrap();
        let mut peer = TcpStream::connect(bound(&listener.bind_addr()))
            .await
            .unwrap();
        let mut client = listener.accept().await.unwrap();
        peer.write_all(b"hello").await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
    }
    let proxy = serve(here!(Socks4).with_bind()).await;
    let listener = Socks4Listener::bind(proxy, "127.0.0.1:21").await.unwrap();
    let mut peer = TcpStream::connect(bound(&listener.bind_addr()))
        .await
        .unwrap();
    let mut client = listener.accept().await.unwrap();
    peer.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
}

#[tokio::test]
async fn behind_a_nat_clients_are_told_another_address() {
    let told: IpAddr = "203.0.113.7".parse().unwrap();
    let addrs = ListenAddrs::new().with_advertised(told).unwrap();
    let proxy = serve(here!(Socks).with_listen_addrs(addrs).with_bind()).await;
    let listener = Socks5Listener::bind(proxy, "127.0.0.1:21").await.unwrap();
    assert_eq!(bound(&listener.bind_addr()).ip(), told);
}

#[tokio::test]
async fn bind_asks_the_rules() {
    let proxy = serve(here!(Socks).with_bind()).await;
    let denied = Socks5Listener::bind(proxy, "10.0.0.1:21").await.map(drop);
    let denied = denied.unwrap_err();
    assert!(matches!(
        denied,
        tokio_socks::Error::ConnectionNotAllowedByRuleset
    ));
}

#[tokio::test]
async fn with_udp_datagrams_go_there_and_back() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = echo.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut data = [0; 64];
        loop {
            let (len, from) = echo.recv_from(&mut data).await.unwrap();
            echo.send_to(data.get(..len).unwrap(), from).await.unwrap();
        }
    });
    for proxy in [
        serve(here!(Socks).with_udp()).await,
        serve(here!(Socks5).with_udp()).await,
    ] {
        let control = TcpStream::connect(proxy).await.unwrap();
        let client = Socks5Datagram::bind(control, "127.0.0.1:0").await.unwrap();
        Box::pin(client.send_to(b"hello", ("here.example", port)))
            .await
            .unwrap();
        let mut answer = [0; 64];
        let answered = Box::pin(client.recv_from(&mut answer));
        let answered = timeout(Duration::from_secs(20), answered).await.unwrap();
        assert_eq!(answered.unwrap().0, 5);
        assert!(answer.starts_with(b"hello"));
    }
}

#[tokio::test]
async fn with_lookups_names_are_answered() {
    let proxy = serve(here!(Socks5).with_lookups()).await;
    let found = Socks5Stream::tor_resolve(proxy, "here.example:0").await;
    assert_eq!(bound(&found.unwrap()), "127.0.0.1:0".parse().unwrap());
    let refused = Socks5Stream::tor_resolve_ptr(proxy, "127.0.0.1:0").await;
    assert!(matches!(
        refused,
        Err(tokio_socks::Error::CommandNotSupported)
    ));
}

#[cfg(feature = "reverse-lookup")]
#[tokio::test]
async fn with_reverse_lookups_addresses_are_answered_if_the_rules_let_them() {
    let proxy = serve(here!(Socks).with_reverse_lookups()).await;
    let found = Socks5Stream::tor_resolve_ptr(proxy, "127.0.0.1:0").await;
    assert!(matches!(found.unwrap(), TargetAddr::Domain(..)));
    let denied = Socks5Stream::tor_resolve_ptr(proxy, "10.0.0.1:0").await;
    let denied = denied.unwrap_err();
    assert!(matches!(
        denied,
        tokio_socks::Error::ConnectionNotAllowedByRuleset
    ));
}

#[tokio::test]
async fn all_commands_stand_beside_each_other_in_any_order() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target.local_addr().unwrap();
    let proxy = Socks::new()
        .with_udp()
        .with_lookups()
        .with_bind()
        .with_connect_timeout(Duration::from_secs(5))
        .with_rules(Rules::new().permit_all_special())
        .with_resolver(service_fn(resolve));
    let proxy = serve(proxy).await;
    Socks5Stream::connect(proxy, target).await.unwrap();
    Socks4Stream::connect(proxy, target).await.unwrap();
    Socks5Stream::tor_resolve(proxy, "here.example:0")
        .await
        .unwrap();
    Socks5Listener::bind(proxy, "127.0.0.1:1").await.unwrap();
    let control = TcpStream::connect(proxy).await.unwrap();
    Socks5Datagram::bind(control, "127.0.0.1:0").await.unwrap();
}

#[tokio::test]
async fn with_an_upstream_all_commands_go_through_it() {
    let inner = serve(here!(Socks).with_udp().with_bind()).await;
    let upstream = Socks5Connector::new(inner.into(), direct());
    let rules = Rules::new().permit_special("127.0.0.0/8".parse().unwrap());
    let proxy = Socks::new()
        .with_upstream(NameRules::new(rules), upstream)
        .with_udp()
        .with_bind();
    let proxy = serve(proxy).await;

    // The name is known to the upstream alone.
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port();
    let connecting = Socks5Stream::connect(proxy, ("here.example", port));
    let (connected, accepted) = tokio::join!(connecting, target.accept());
    drop((connected.unwrap(), accepted.unwrap()));

    let listener = Socks5Listener::bind(proxy, "here.example:21")
        .await
        .unwrap();
    let peer = TcpStream::connect(bound(&listener.bind_addr()))
        .await
        .unwrap();
    let client = listener.accept().await.unwrap();
    assert_eq!(bound(&client.target_addr()), peer.local_addr().unwrap());

    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = echo.local_addr().unwrap().port();
    let control = TcpStream::connect(proxy).await.unwrap();
    let client = Socks5Datagram::bind(control, "127.0.0.1:0").await.unwrap();
    client
        .send_to(b"question", ("here.example", port))
        .await
        .unwrap();
    let mut bytes = [0; 64];
    let (len, _) = timeout(Duration::from_secs(10), echo.recv_from(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&bytes[..len], b"question");
}

/// What refuses, outside of the resolver.
fn closed<S>(
    _: S,
) -> impl tower::Service<Request, Response = TcpStream, Error = Error, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(|request: Request| async move {
        // It sees the name.
        assert!(request.target.to_string().starts_with("here.example"));
        Err(Error::new(ErrorKind::Limited, "closed"))
    })
}

#[tokio::test]
async fn a_layer_outside_of_the_resolver_refuses_with_the_reply_of_one_s_choice() {
    let layered = || here!(Socks5).with_connect_layer(tower::layer::layer_fn(closed));
    let proxy = serve(layered()).await;
    let refused = Socks5Stream::connect(proxy, "here.example:80").await;
    assert!(matches!(
        refused.unwrap_err(),
        tokio_socks::Error::GeneralSocksServerFailure
    ));

    let proxy = layered().with_reply(|error| {
        let limited = error.kind() == ErrorKind::Limited;
        limited.then_some(ReplyCode::CONNECTION_NOT_ALLOWED)
    });
    let proxy = serve(proxy).await;
    let refused = Socks5Stream::connect(proxy, "here.example:80").await;
    assert!(matches!(
        refused.unwrap_err(),
        tokio_socks::Error::ConnectionNotAllowedByRuleset
    ));
}
