//! Through another proxy: ours, and one that does what it likes.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use socks_tower::{
    Accepted, BoxError, End, NameRules, Request, Rules, Socks5Connector, Target, UdpAssociate,
    session::DropReason,
    works::upstream::{Told, direct},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tower::service_fn;

use super::support::{Client, PATIENCE, Proxy, datagram, echo, judge, name};

fn anywhere() -> NameRules {
    NameRules::new(Rules::new().permit_all_special())
}

fn connector(
    upstream: SocketAddr,
) -> Socks5Connector<impl socks_tower::Connector<Request, Io = TcpStream> + Sync> {
    Socks5Connector::new(upstream.into(), direct())
}

fn through(upstream: SocketAddr) -> UdpAssociate<Told<NameRules>> {
    UdpAssociate::through(anywhere(), connector(upstream))
}

/// A proxy by hand.
struct Upstream {
    listener: TcpListener,
    addr: SocketAddr,
    relay: UdpSocket,
}

impl Upstream {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self {
            listener,
            addr,
            relay,
        }
    }

    /// Hears a request for an association, and has not answered.
    async fn asked(&self) -> TcpStream {
        let (mut io, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("a request")
            .unwrap();
        let mut hello = [0; 3];
        io.read_exact(&mut hello).await.unwrap();
        io.write_all(b"\x05\x00").await.unwrap();
        let mut request = [0; 10];
        io.read_exact(&mut request).await.unwrap();
        // Nothing is told of the client.
        assert_eq!(&request, b"\x05\x03\x00\x01\0\0\0\0\0\0");
        io
    }

    /// Grants one, at an address in the words `host`.
    async fn grants(&self, host: &[u8]) -> TcpStream {
        let mut io = self.asked().await;
        let port = self.relay.local_addr().unwrap().port().to_be_bytes();
        let reply = [b"\x05\x00\x00", host, &port].concat();
        io.write_all(&reply).await.unwrap();
        io
    }

    /// The next datagram, and where it is from.
    async fn hears(&self) -> (Vec<u8>, SocketAddr) {
        let mut bytes = vec![0; 65_536];
        let heard = timeout(PATIENCE, self.relay.recv_from(&mut bytes)).await;
        let (len, from) = heard.expect("a datagram").unwrap();
        bytes.truncate(len);
        (bytes, from)
    }
}

/// An association through `upstream`, and its control connection there.
async fn associated(proxy: &Proxy, upstream: &Upstream) -> (Client, TcpStream) {
    let unspecified = b"\x01\0\0\0\0";
    tokio::join!(Client::new(proxy), upstream.grants(unspecified))
}

#[tokio::test]
async fn datagrams_go_through_two_proxies_to_addresses_and_names() {
    let (v4, v6) = (echo("127.0.0.1").await, echo("::1").await);
    let mut inner = Proxy::start(UdpAssociate::new(judge())).await;
    let mut outer = Proxy::start(through(inner.addr)).await;
    let client = Client::new(&outer).await;
    let mut bytes = 0;
    for data in [&b"question"[..], b"", &[7; 9000]] {
        // The names are known to the second one alone.
        for (target, source) in [
            (v4.into(), v4),
            (v6.into(), v6),
            (name("v4.example", v4.port()), v4),
            (name("v6.example", v6.port()), v6),
        ] {
            client.echo(&target, source, data).await;
            bytes += data.len() as u64;
        }
    }
    // More than a batch, and alike.
    for number in 0..100_u8 {
        client.send(&v4.into(), &[number; 50]).await;
    }
    let mut echoed = BTreeSet::new();
    for _ in 0..100 {
        let (_, data) = client.receive().await;
        assert!(data.len() == 50 && data.iter().all(|byte| *byte == data[0]));
        echoed.insert(data[0]);
    }
    assert_eq!(echoed.len(), 100);
    drop(client);
    for proxy in [&mut outer, &mut inner] {
        let transfer = proxy.ended().await.unwrap();
        assert_eq!(transfer.end, End::Closed);
        assert_eq!((transfer.up, transfer.down), (bytes + 5000, bytes + 5000));
        let datagrams = transfer.datagrams.unwrap();
        assert_eq!((datagrams.up, datagrams.down), (112, 112));
        assert_eq!(datagrams.dropped.total(), 0);
    }
}

#[tokio::test]
async fn rules_judge_each_destination_as_the_client_names_it() {
    let target = echo("127.0.0.1").await;
    let inner = Proxy::start(UdpAssociate::new(judge())).await;
    let rules = NameRules::new(Rules::new());
    let mut outer = Proxy::start(UdpAssociate::through(rules, connector(inner.addr))).await;
    let client = Client::new(&outer).await;
    let port = target.port();
    client.send(&target.into(), b"denied").await;
    for host in ["localhost", "0x7f.1", "2130706433"] {
        let mut bytes = b"\0\0\0\x03".to_vec();
        bytes.push(u8::try_from(host.len()).unwrap());
        bytes.extend(host.as_bytes());
        bytes.extend(port.to_be_bytes());
        client.send_bytes(&bytes).await;
    }
    client
        .echo(&name("v4.example", port), target, b"passes")
        .await;
    drop(client);
    let dropped = outer.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!((dropped.of(DropReason::Denied), dropped.total()), (4, 4));
}

#[tokio::test]
async fn the_upstream_is_told_what_the_judge_permits() {
    let upstream = Upstream::new().await;
    let by_name = Proxy::start(through(upstream.addr)).await;
    let (client, _control) = associated(&by_name, &upstream).await;
    for target in [
        name("a.example", 53),
        "192.0.2.7:53".parse().unwrap(),
        "[2001:db8::7]:53".parse().unwrap(),
    ] {
        // What is reserved is nothing to pass on.
        let mut bytes = datagram(0, &target, b"data");
        bytes[..2].copy_from_slice(b"\xff\xff");
        client.send_bytes(&bytes).await;
        assert_eq!(upstream.hears().await.0, datagram(0, &target, b"data"));
    }
    // An address in a name's place.
    let bytes = b"\0\0\0\x03\x09192.0.2.7\0\x35data";
    client.send_bytes(bytes).await;
    let told = datagram(0, &"192.0.2.7:53".parse().unwrap(), b"data");
    assert_eq!(upstream.hears().await.0, told);

    let looks_up = UdpAssociate::through(judge(), connector(upstream.addr));
    let mut looks_up = Proxy::start(looks_up).await;
    let (client, _control) = associated(&looks_up, &upstream).await;
    client.send(&name("v4.example", 53), b"data").await;
    let told = datagram(0, &"127.0.0.1:53".parse().unwrap(), b"data");
    assert_eq!(upstream.hears().await.0, told);
    client.send(&name("v6.example", 53), b"").await;
    let told = datagram(0, &"[::1]:53".parse().unwrap(), b"");
    assert_eq!(upstream.hears().await.0, told);
    client.send(&name("no.example", 53), b"data").await;
    client
        .send(
            &Target::from(SocketAddr::from(([192, 0, 2, 7], 0))),
            b"data",
        )
        .await;
    client.send(&name("v4.example", 53), b"last").await;
    let told = datagram(0, &"127.0.0.1:53".parse().unwrap(), b"last");
    assert_eq!(upstream.hears().await.0, told);
    drop(client);
    let dropped = looks_up.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Unresolved), 1);
    assert_eq!(dropped.of(DropReason::Unsendable), 1);
}

#[tokio::test]
async fn a_name_may_be_rewritten_to_a_longer_one() {
    let upstream = Upstream::new().await;
    let long = format!("{}example", "a.".repeat(90));
    let rewritten = name(&long, 53);
    let told = rewritten.clone();
    let rewrites = service_fn(move |request: Request| {
        std::future::ready(Ok::<_, BoxError>(request.with_target(told.clone())))
    });
    let rewrites = UdpAssociate::through(rewrites, connector(upstream.addr));
    let mut proxy = Proxy::start(rewrites).await;
    let (client, _control) = associated(&proxy, &upstream).await;
    for data in [&b"first"[..], b"", b"third"] {
        client.send(&name("a.example", 53), data).await;
        assert_eq!(upstream.hears().await.0, datagram(0, &rewritten, data));
    }
    drop(client);
    let transfer = proxy.ended().await.unwrap();
    assert_eq!(transfer.up, 10);
    assert_eq!(transfer.datagrams.unwrap().up, 3);
}

#[tokio::test]
async fn what_comes_by_itself_does_not_keep_an_association_alive() {
    let upstream = Upstream::new().await;
    let hasty = through(upstream.addr).with_idle_timeout(Duration::from_millis(200));
    let mut proxy = Proxy::start(hasty).await;
    let (client, _control) = associated(&proxy, &upstream).await;
    client.send(&name("a.example", 53), b"question").await;
    let (_, ours) = upstream.hears().await;
    let flood = async {
        let answer = datagram(0, &"192.0.2.7:53".parse().unwrap(), b"answer");
        loop {
            upstream.relay.send_to(&answer, ours).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::select! {
        ended = proxy.ended() => ended.unwrap(),
        () = flood => unreachable!("it goes on"),
    };
    assert_eq!(ended.end, End::IdleTimeout);
    assert!(ended.datagrams.unwrap().down > 0);
}

#[tokio::test]
async fn only_what_the_upstream_sends_and_can_be_read_reaches_the_client() {
    let upstream = Upstream::new().await;
    let mut proxy = Proxy::start(through(upstream.addr)).await;
    let (client, _control) = associated(&proxy, &upstream).await;
    client.send(&name("a.example", 53), b"question").await;
    let (_, ours) = upstream.hears().await;
    let source: Target = "192.0.2.7:53".parse().unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger
        .send_to(&datagram(0, &source, b"forged"), ours)
        .await
        .unwrap();
    for garbage in [&b""[..], b"\0\0", b"\0\0\0\x07garbage", &[0xff; 2000]] {
        upstream.relay.send_to(garbage, ours).await.unwrap();
    }
    let fragment = datagram(1, &source, b"fragment");
    upstream.relay.send_to(&fragment, ours).await.unwrap();
    let answer = datagram(0, &source, b"answer");
    upstream.relay.send_to(&answer, ours).await.unwrap();
    let (from, data) = client.receive().await;
    assert_eq!((Target::from(from), &data[..]), (source, &b"answer"[..]));
    // And none before the client has been heard.
    drop(client);
    let transfer = proxy.ended().await.unwrap();
    let dropped = transfer.datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Malformed), 4);
    assert_eq!(dropped.of(DropReason::Fragment), 1);
    assert_eq!((transfer.up, transfer.down), (8, 6));
}

#[tokio::test]
async fn an_association_ends_with_either_side_s_connection() {
    let upstream = Upstream::new().await;
    let mut proxy = Proxy::start(through(upstream.addr)).await;
    for reset in [false, true] {
        let (mut client, mut control) = associated(&proxy, &upstream).await;
        // What it says means nothing.
        control.write_all(&[7; 1000]).await.unwrap();
        if reset {
            control.set_zero_linger().unwrap();
        }
        drop(control);
        let transfer = proxy.ended().await.unwrap();
        assert_eq!(transfer.end, End::UpstreamReset);
        assert_eq!(client.control.read(&mut [0]).await.unwrap_or(0), 0);
    }
    let (client, mut control) = associated(&proxy, &upstream).await;
    drop(client);
    assert_eq!(proxy.ended().await.unwrap().end, End::Closed);
    let closed = timeout(PATIENCE, control.read(&mut [0])).await.unwrap();
    assert_eq!(closed.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_client_hears_the_upstream_s_own_code() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::start(through(upstream.addr)).await;
    for (code, heard) in (1..=8)
        .chain(0xf0..=0xf7)
        .map(|code| (code, code))
        .chain([(9, 1), (0x55, 1)])
    {
        let refused = async {
            let mut io = upstream.asked().await;
            io.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])
                .await
                .unwrap();
        };
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let asking = Client::declaring(&proxy, socket, Target::UNSPECIFIED);
        let (answer, ()) = tokio::join!(asking, refused);
        assert_eq!(answer.err(), Some(heard), "{code}");
    }
    // It grants, and does not say where.
    let (answer, _control) = tokio::join!(
        async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            Client::declaring(&proxy, socket, Target::UNSPECIFIED).await
        },
        async {
            let mut io = upstream.asked().await;
            io.write_all(b"\x05\0\0\x01\x7f\0\0\x01\0\0").await.unwrap();
            io
        }
    );
    assert_eq!(answer.err(), Some(1));
}

#[tokio::test]
async fn a_name_for_the_relay_is_the_upstream_s_own_address() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::start(through(upstream.addr)).await;
    let named = b"\x03\x0drelay.example";
    let (client, _control) = tokio::join!(Client::new(&proxy), upstream.grants(named));
    client.send(&name("a.example", 53), b"data").await;
    upstream.hears().await;
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_given_up_and_so_is_a_client_that_goes() {
    let upstream = Upstream::new().await;
    let hasty = connector(upstream.addr).with_timeout(Duration::from_millis(100));
    let proxy = Proxy::start(UdpAssociate::through(anywhere(), hasty)).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asking = Client::declaring(&proxy, socket, Target::UNSPECIFIED);
    let (answer, mut io) = tokio::join!(asking, upstream.asked());
    assert_eq!(answer.err(), Some(6));
    assert_eq!(io.read(&mut [0]).await.unwrap_or(0), 0);

    let mut proxy = Proxy::start(through(upstream.addr)).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let request = b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0";
    client.write_all(request).await.unwrap();
    let mut io = upstream.asked().await;
    drop(client);
    let closed = timeout(PATIENCE, io.read(&mut [0])).await.unwrap();
    assert_eq!(closed.unwrap_or(0), 0);
    let gone: BoxError = proxy.ended().await.unwrap_err();
    assert!(gone.to_string().contains("client"), "{gone}");
}

#[tokio::test]
async fn meters_count_what_goes_through() {
    use std::sync::{Arc, Mutex};

    use socks_tower::{Direction, HasSession, Meter};

    #[derive(Default)]
    struct Counts(Mutex<[u64; 2]>);

    impl Meter for Counts {
        fn record(&self, direction: Direction, bytes: u64) {
            self.0.lock().unwrap()[usize::from(direction == Direction::Down)] += bytes;
        }
    }

    let target = echo("127.0.0.1").await;
    let inner = Proxy::start(UdpAssociate::new(judge())).await;
    let counts = Arc::new(Counts::default());
    let set = Arc::clone(&counts);
    let layer = move |mut accepted: Accepted<_>| {
        accepted.session_mut().policy.add_meter(set.clone());
        accepted
    };
    let mut outer = Proxy::start_behind(layer, through(inner.addr)).await;
    let client = Client::new(&outer).await;
    client
        .echo(&name("v4.example", target.port()), target, b"ten bytes.")
        .await;
    client.echo(&target.into(), target, b"five.").await;
    drop(client);
    outer.ended().await.unwrap();
    assert_eq!(*counts.0.lock().unwrap(), [15, 15]);
}

#[cfg(all(
    feature = "upstream-pool",
    feature = "routes",
    feature = "http-connect"
))]
#[tokio::test]
async fn in_a_mixed_pool_and_by_routes_datagrams_go_to_a_member_that_can() {
    use socks_tower::{
        Command, Match, ProxyConnector, ResolveLayer, Routes, SystemResolver, TcpConnector,
        UpstreamPool,
    };
    use tower::Layer;

    let target = echo("127.0.0.1").await;
    let inner = Proxy::start(UdpAssociate::new(judge())).await;
    let member = |scheme: &str| {
        let url = format!("{scheme}://{}", inner.addr).parse().unwrap();
        ProxyConnector::new(url, direct())
    };
    let pool = UpstreamPool::new()
        .with_upstream("http", member("http"))
        .with_upstream("socks4", member("socks4a"))
        .with_upstream("socks5", member("socks5h"));
    let counted = pool.clone();
    let tcp = ResolveLayer::new(SystemResolver::new()).layer(TcpConnector::new());
    let only_tcp = Routes::new(tcp);
    let routes = only_tcp
        .clone()
        .to(Match::any().command(Command::UDP_ASSOCIATE), pool);
    let mut outer = Proxy::start(UdpAssociate::through(anywhere(), routes)).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let client = Client::new(&outer).await;
        client.echo(&target.into(), target, b"hello").await;
        clients.push(client);
    }
    let live: Vec<_> = counted
        .upstreams()
        .iter()
        .map(|it| (it.live, it.is_out))
        .collect();
    assert_eq!(live, [(0, false), (0, false), (10, false)]);
    let ended = clients.len();
    drop(clients);
    for _ in 0..ended {
        outer.ended().await.unwrap();
    }
    assert!(counted.upstreams().iter().all(|it| it.live == 0));

    let outer = Proxy::start(UdpAssociate::through(anywhere(), only_tcp)).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let refused = Client::declaring(&outer, socket, Target::UNSPECIFIED).await;
    assert_eq!(refused.err(), Some(7));
}

#[tokio::test]
async fn many_datagrams_of_a_client_go_by_one_call() {
    let (v4, v6) = (echo("127.0.0.1").await, echo("::1").await);
    let inner = Proxy::start(UdpAssociate::new(judge())).await;
    let socket = connector(inner.addr).associate().await.unwrap();
    let targets = [v4.into(), name("v6.example", v6.port()), v6.into()];
    let payloads: Vec<Vec<u8>> = (0..100_u8)
        .map(|at| vec![at; usize::from(at % 5) * 10])
        .collect();
    let many: Vec<_> = payloads
        .iter()
        .map(Vec::as_slice)
        .zip(targets.iter().cycle())
        .collect();
    assert_eq!(socket.send_many(&many).await.unwrap(), 100);
    assert_eq!(socket.send_many(&[]).await.unwrap(), 0);
    let (mut came, mut bytes, mut calls) = (0, Vec::new(), 0);
    let receiving = async {
        while came < 100 {
            let count = socket.recv_many(|payload, from| {
                assert!(from == v4.into() || from == v6.into());
                bytes.push(payload.to_vec());
            });
            came += count.await.unwrap();
            calls += 1;
        }
    };
    timeout(PATIENCE, receiving).await.expect("all of them");
    bytes.sort();
    let mut sent = payloads;
    sent.sort();
    assert!(bytes == sent);
    assert!(calls <= 100);

    // One that is too long is an error if it is alone, and takes no other along.
    let long = vec![0; 70_000];
    let target = Target::from(v4);
    assert!(socket.send_many(&[(&long, &target)]).await.is_err());
    let some = [(&b"one"[..], &target), (&long, &target), (b"two", &target)];
    assert_eq!(socket.send_many(&some).await.unwrap(), 2);
    let mut answer = [0; 8];
    let mut both = BTreeSet::new();
    for _ in 0..2 {
        let (len, _) = socket.recv_from(&mut answer).await.unwrap();
        both.insert(answer[..len].to_vec());
    }
    assert_eq!(both, BTreeSet::from([b"one".to_vec(), b"two".to_vec()]));
}
