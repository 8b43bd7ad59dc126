//! How connections and datagrams leave, seen from a machine next to this one and by
//! packet filters.
//!
//! They need programs of the system, so these tests are ignored unless asked for:
//! `cargo test -p socks-tests --test egress_programs -- --ignored`.
#![cfg(target_os = "linux")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where it cannot go on"
)]

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use socks_tests::{
    child,
    client::assert_echoes,
    namespace::{as_root_of_nothing, ip, is_inside, neighbour, nft},
    patiently,
    proxy::Proxy,
};
use socks_tower::{
    Admitted, Attempt, AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, ConnectLayer,
    Egress, HandshakeLayer, Identity, IpNet, Permit, Pinned, Relay, Request, ResolveLayer, Rules,
    SystemResolver, TcpConnector, UdpAssociate, works::egress::SourceAddrs,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tower::{Layer, ServiceBuilder, service_fn};

const CONNECT: u8 = 1;
const BIND: u8 = 2;
const UDP_ASSOCIATE: u8 = 3;

/// The addresses of the other machine.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80);

/// What is on the other machine. Two links lead there, of which the routes prefer
/// the first.
struct Far {
    tcp: TcpListener,
    tcp6: TcpListener,
    udp: UdpSocket,
    udp6: UdpSocket,
    /// Has not been connected yet.
    peer: Socket,
}

fn far() -> Far {
    let links = [("wan0", "far0"), ("wan1", "far1")];
    let (tcp, udp, peer) = neighbour(&links, || {
        ip("link set far0 up");
        ip("link set far1 up");
        ip("address add 198.51.100.2/24 dev far0");
        ip("address add 203.0.113.2/24 dev far1");
        ip("address add 2001:db8:a::2/64 dev far0 nodad");
        ip(&format!("address add {FAR} dev lo"));
        ip(&format!("address add {FAR6} dev lo nodad"));
        ip("route add default via 198.51.100.1");
        ip("route add default via 2001:db8:a::1");
        let ips = [IpAddr::from(FAR), IpAddr::from(FAR6)];
        let tcp = ips.map(|ip| std::net::TcpListener::bind((ip, 0)).unwrap());
        let udp = ips.map(|ip| std::net::UdpSocket::bind((ip, 0)).unwrap());
        let peer = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        let addr = SocketAddr::from((FAR, 0));
        peer.bind(&addr.into()).unwrap();
        (tcp, udp, peer)
    });
    ip("address add 198.51.100.1/24 dev wan0");
    ip("address add 203.0.113.1/24 dev wan1");
    ip("address add 2001:db8:a::1/64 dev wan0 nodad");
    ip(&format!("route add {FAR} via 198.51.100.2"));
    ip(&format!("route add {FAR} via 203.0.113.2 metric 100"));
    ip(&format!("route add {FAR6} via 2001:db8:a::2"));
    // Networks that are routed to this machine.
    ip("route add local 10.7.0.0/24 dev lo");
    ip("route add local 2001:db8:7::/64 dev lo");
    let [tcp, tcp6] = tcp.map(|listener| {
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    });
    let [udp, udp6] = udp.map(|socket| {
        socket.set_nonblocking(true).unwrap();
        UdpSocket::from_std(socket).unwrap()
    });
    Far {
        tcp,
        tcp6,
        udp,
        udp6,
        peer,
    }
}

/// A proxy on loopback that lets everybody be who they say they are. Who is called by
/// an address comes from it; who asks about one of 127.0.9.0/24 comes from that.
async fn proxy(egress: Egress) -> SocketAddr {
    let by_target = |mut request: Request<Pinned>| {
        let mut ips = request.target.addrs().iter().map(SocketAddr::ip);
        if let Some(ip) = ips.find(|ip| net("127.0.9.0/24").contains(ip)) {
            request.session.extensions.insert(Egress::from(ip));
        }
        request
    };
    let judged = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .map_request(by_target)
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()));
    let permit = judged.clone().service(Permit::new());
    let connector = TcpConnector::new().with_egress(egress.clone());
    let connect = ConnectLayer::new(judged.service(connector));
    let bind = BindLayer::new(permit.clone()).with_egress(egress.clone());
    let commands = ByCommand::new()
        .udp_associate(UdpAssociate::new(permit).with_egress(egress))
        .bind(bind.layer(Relay::new()))
        .connect(connect.layer(Relay::new()));
    let verifier = service_fn(async |attempt: Attempt| {
        let name = attempt.credentials.username.to_str().unwrap();
        let admitted = Admitted::from(Identity::from(name));
        Ok::<_, Infallible>(match name.parse::<IpAddr>() {
            Ok(ip) => admitted.with_extension(Egress::from(ip)),
            Err(_) => admitted,
        })
    });
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(verifier))
        .service(commands);
    let proxy = Proxy::spawn(stack).await;
    let addr = proxy.addr();
    // As long as the test.
    std::mem::forget(proxy);
    addr
}

fn header(addr: SocketAddr) -> Vec<u8> {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => [&[1][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[4][..], &ip.octets()].concat(),
    };
    [&ip[..], &addr.port().to_be_bytes()].concat()
}

async fn told(client: &mut TcpStream) -> SocketAddr {
    let mut reply = [0; 10];
    let reading = client.read_exact(&mut reply);
    patiently("the reply", reading).await.unwrap();
    assert_eq!(reply[..4], [5, 0, 0, 1]);
    let ip: [u8; 4] = reply[4..8].try_into().unwrap();
    (ip, u16::from_be_bytes([reply[8], reply[9]])).into()
}

/// Asks for `command` as `name`. The reply is to be read.
async fn says(proxy: SocketAddr, name: &str, command: u8, about: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let len = u8::try_from(name.len()).unwrap();
    let login = [&[1, len], name.as_bytes(), &[1, b'x']].concat();
    let about = header(about);
    let request = [&[5, 1, 2], &login[..], &[5, command, 0], &about].concat();
    client.write_all(&request).await.unwrap();
    let mut admitted = [0; 4];
    client.read_exact(&mut admitted).await.unwrap();
    assert_eq!(admitted, [5, 2, 1, 0]);
    client
}

/// Asks for `command` as `name`; gives the IPv4 address that is told.
async fn asks(
    proxy: SocketAddr,
    name: &str,
    command: u8,
    about: SocketAddr,
) -> (TcpStream, SocketAddr) {
    let mut client = says(proxy, name, command, about).await;
    let told = told(&mut client).await;
    (client, told)
}

/// The address that `target` sees of a tunnel of `name`'s.
async fn seen_by_tcp(proxy: SocketAddr, name: &str, target: &TcpListener) -> IpAddr {
    let addr = target.local_addr().unwrap();
    let granted = async {
        let mut client = says(proxy, name, CONNECT, addr).await;
        let mut start = [0; 2];
        client.read_exact(&mut start).await.unwrap();
        assert_eq!(start, [5, 0]);
        client
    };
    let both = async { tokio::join!(target.accept(), granted) };
    let (accepted, _client) = patiently("a tunnel", both).await;
    accepted.unwrap().1.ip()
}

/// The address that `target` sees of an association of `name`'s.
async fn seen_by_udp(proxy: SocketAddr, name: &str, target: &UdpSocket) -> IpAddr {
    let any = SocketAddr::from(([0; 4], 0));
    let (_client, relay) = asks(proxy, name, UDP_ASSOCIATE, any).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = header(target.local_addr().unwrap());
    let hello = [&[0; 3], &to[..], b"hello"].concat();
    socket.send_to(&hello, relay).await.unwrap();
    let mut bytes = [0; 64];
    let received = patiently("the datagram", target.recv_from(&mut bytes)).await;
    let (_, from) = received.unwrap();
    target.send_to(b"hello", from).await.unwrap();
    let received = patiently("the answer", socket.recv_from(&mut bytes)).await;
    let (len, _) = received.unwrap();
    assert_eq!(bytes[..len], hello);
    from.ip()
}

/// Where a BIND listens to which the other machine comes.
async fn listened_at(proxy: SocketAddr, name: &str, peer: Socket) -> IpAddr {
    let (mut client, bound) = asks(proxy, name, BIND, (FAR, 9).into()).await;
    peer.set_nonblocking(true).unwrap();
    let peer = tokio::net::TcpSocket::from_std_stream(peer.into());
    let connected = patiently("the peer", peer.connect(bound)).await;
    let mut peer = connected.unwrap();
    assert_eq!(told(&mut client).await, peer.local_addr().unwrap());
    peer.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    bound.ip()
}

/// It needs no program.
#[tokio::test]
async fn a_user_s_egress_and_a_rule_s_go_before_that_of_all() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let anybody = SocketAddr::from(([127, 0, 0, 1], 9));
    let proxy = proxy(Ipv4Addr::new(127, 0, 0, 2).into()).await;
    for (name, source) in [("joe", v4(127, 0, 0, 2)), ("127.0.0.3", v4(127, 0, 0, 3))] {
        assert_eq!(seen_by_tcp(proxy, name, &tcp).await, source);
        assert_eq!(seen_by_udp(proxy, name, &udp).await, source);
        let (_client, bound) = asks(proxy, name, BIND, anybody).await;
        assert_eq!(bound.ip(), source);
    }

    let tcp = TcpListener::bind("127.0.9.1:0").await.unwrap();
    for name in ["joe", "127.0.0.3"] {
        assert_eq!(seen_by_tcp(proxy, name, &tcp).await, v4(127, 0, 9, 1));
        let expected = SocketAddr::from(([127, 0, 9, 2], 9));
        let (_client, bound) = asks(proxy, name, BIND, expected).await;
        assert_eq!(bound.ip(), v4(127, 0, 9, 2));
    }
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::from([a, b, c, d])
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Counts what leaves and fits `rule`.
fn count(name: &str, rule: &str) {
    nft(&format!("add counter inet seen {name}"));
    nft(&format!(
        "add rule inet seen out {rule} counter name {name}"
    ));
}

fn filter() {
    nft("add table inet seen");
    nft("add chain inet seen out { type filter hook output priority 0 ; }");
}

fn counted(name: &str) -> u64 {
    let said = nft(&format!("list counter inet seen {name}"));
    let mut words = said
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    words.nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, and ip, of iproute2"]
async fn a_source_address_and_an_interface_are_seen_by_the_target() {
    if !is_inside("a_source_address_and_an_interface_are_seen_by_the_target") {
        return;
    }
    let far = far();
    let by_routes = proxy(Egress::new()).await;
    assert_eq!(
        seen_by_tcp(by_routes, "joe", &far.tcp).await,
        v4(198, 51, 100, 1)
    );

    // The address of the other link, but by the routes.
    let egress = Egress::from(Ipv4Addr::new(203, 0, 113, 1));
    egress.check().unwrap();
    let by_source = proxy(egress).await;
    assert_eq!(
        seen_by_tcp(by_source, "joe", &far.tcp).await,
        v4(203, 0, 113, 1)
    );
    assert_eq!(
        seen_by_udp(by_source, "joe", &far.udp).await,
        v4(203, 0, 113, 1)
    );
    let (_client, bound) = asks(by_source, "joe", BIND, (FAR, 9).into()).await;
    assert_eq!(bound.ip(), v4(203, 0, 113, 1));

    let egress = Egress::new().with_interface("wan1");
    egress.check().unwrap();
    let by_interface = proxy(egress).await;
    // Only by that one: the other takes nothing but its own.
    filter();
    nft(&format!(
        "add rule inet seen out ip daddr {FAR} oifname wan0 drop"
    ));
    assert_eq!(
        seen_by_tcp(by_interface, "joe", &far.tcp).await,
        v4(203, 0, 113, 1)
    );
    assert_eq!(
        seen_by_udp(by_interface, "joe", &far.udp).await,
        v4(203, 0, 113, 1)
    );
    assert_eq!(
        listened_at(by_interface, "joe", far.peer).await,
        v4(203, 0, 113, 1)
    );

    let none = Egress::new().with_interface("wan2").check().unwrap_err();
    assert!(none.to_string().contains("wan2"), "{none}");
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, ip, of iproute2, and nft, of nftables"]
async fn a_mark_is_seen_by_a_rule_and_by_the_routes() {
    if !is_inside("a_mark_is_seen_by_a_rule_and_by_the_routes") {
        return;
    }
    let far = far();
    ip("route add default via 203.0.113.2 table 7");
    ip("rule add fwmark 7 table 7");
    filter();
    let to_far = format!("meta mark 7 ip daddr {FAR}");
    count("by_tcp", &format!("{to_far} meta l4proto tcp"));
    count("by_udp", &format!("{to_far} meta l4proto udp"));
    count("unmarked", &format!("meta mark 0 ip daddr {FAR}"));

    let egress = Egress::new().with_mark(7);
    egress.check().unwrap();
    let proxy = proxy(egress).await;
    assert_eq!(
        seen_by_tcp(proxy, "joe", &far.tcp).await,
        v4(203, 0, 113, 1)
    );
    let by_tcp = counted("by_tcp");
    assert!(by_tcp > 0);
    assert_eq!(
        seen_by_udp(proxy, "joe", &far.udp).await,
        v4(203, 0, 113, 1)
    );
    assert_eq!(counted("by_udp"), 1);
    // The route that the mark chooses is asked for the address to listen on, too.
    assert_eq!(
        listened_at(proxy, "joe", far.peer).await,
        v4(203, 0, 113, 1)
    );
    assert!(counted("by_tcp") > by_tcp);
    assert_eq!(counted("unmarked"), 0);
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, ip, of iproute2, and nft, of nftables"]
async fn a_dscp_is_seen_by_a_rule_in_both_families() {
    if !is_inside("a_dscp_is_seen_by_a_rule_in_both_families") {
        return;
    }
    let far = far();
    filter();
    count("v4", &format!("ip daddr {FAR} ip dscp ef"));
    count("v6", &format!("ip6 daddr {FAR6} ip6 dscp ef"));
    count("v4others", &format!("ip daddr {FAR} ip dscp != ef"));
    count("v6others", &format!("ip6 daddr {FAR6} ip6 dscp != ef"));

    let egress = Egress::new().with_dscp(46);
    egress.check().unwrap();
    let proxy = proxy(egress).await;
    let mut before = 0;
    seen_by_tcp(proxy, "joe", &far.tcp).await;
    seen_by_udp(proxy, "joe", &far.udp).await;
    listened_at(proxy, "joe", far.peer).await;
    assert!(counted("v4") > before);
    before = counted("v6");
    seen_by_tcp(proxy, "joe", &far.tcp6).await;
    seen_by_udp(proxy, "joe", &far.udp6).await;
    assert!(counted("v6") > before);
    assert_eq!((counted("v4others"), counted("v6others")), (0, 0));
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, and ip, of iproute2"]
async fn of_a_routed_network_it_is_another_address_each_time() {
    if !is_inside("of_a_routed_network_it_is_another_address_each_time") {
        return;
    }
    let far = far();
    let sources = SourceAddrs::from(net("2001:db8:7::/64")).with(net("10.7.0.0/24"));
    let egress = Egress::from(sources);
    egress.check().unwrap();
    let proxy = proxy(egress).await;

    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(seen_by_tcp(proxy, "joe", &far.tcp6).await);
        seen.insert(seen_by_udp(proxy, "joe", &far.udp6).await);
    }
    assert_eq!(seen.len(), 40, "{seen:?}");
    let ours = net("2001:db8:7::/64");
    assert!(seen.iter().all(|ip| ours.contains(ip)), "{seen:?}");

    let ours = net("10.7.0.0/24");
    assert!(ours.contains(&seen_by_tcp(proxy, "joe", &far.tcp).await));
    assert!(ours.contains(&seen_by_udp(proxy, "joe", &far.udp).await));
    assert!(ours.contains(&listened_at(proxy, "joe", far.peer).await));
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, and ip, of iproute2"]
async fn an_identity_keeps_its_address_of_a_pool() {
    if !is_inside("an_identity_keeps_its_address_of_a_pool") {
        return;
    }
    let far = far();
    let pool = || {
        let sources = SourceAddrs::from(net("2001:db8:7::/64"));
        (1..=20).fold(sources, |sources, i| {
            sources.with(Ipv4Addr::new(10, 7, 0, i))
        })
    };
    let mut all = BTreeSet::new();
    let mut of_joe = BTreeSet::new();
    // In another process of the same proxy it is no other.
    for _ in 0..2 {
        let proxy = proxy(pool().by_identity().into()).await;
        for _ in 0..3 {
            of_joe.insert(seen_by_tcp(proxy, "joe", &far.tcp).await);
            of_joe.insert(seen_by_udp(proxy, "joe", &far.udp).await);
            of_joe.insert(seen_by_tcp(proxy, "joe", &far.tcp6).await);
            of_joe.insert(seen_by_udp(proxy, "joe", &far.udp6).await);
        }
        for name in 0..20 {
            all.insert(seen_by_tcp(proxy, &name.to_string(), &far.tcp6).await);
        }
        let (_client, bound) = asks(proxy, "joe", BIND, (FAR, 9).into()).await;
        of_joe.insert(bound.ip());
    }
    // One of each family.
    assert_eq!(of_joe.len(), 2, "{of_joe:?}");
    assert_eq!(all.len(), 20, "{all:?}");
    assert!(all.is_disjoint(&of_joe));

    let by_turns = proxy(pool().into()).await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(seen_by_tcp(by_turns, "joe", &far.tcp).await);
    }
    assert_eq!(seen.len(), 20, "{seen:?}");
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, and ip, of iproute2"]
async fn a_source_address_has_all_ports_for_each_target() {
    if !is_inside("a_source_address_has_all_ports_for_each_target") {
        return;
    }
    let far = far();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
    let connector = TcpConnector::new().with_egress(Ipv4Addr::new(203, 0, 113, 1));
    let connect = async |target: SocketAddr| {
        let pinned = Pinned::new(target.into(), [target]);
        let session = socks_tower::Session::new();
        let request = Request::new(session, socks_tower::Command::CONNECT, pinned);
        tower::ServiceExt::oneshot(connector.clone(), request).await
    };
    let mut open = Vec::new();
    for target in [&far.tcp, &listener] {
        for _ in 0..4 {
            open.push(connect(target.local_addr().unwrap()).await.unwrap());
        }
    }
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, and ip, of iproute2"]
async fn fast_open_sends_the_first_bytes_with_the_syn_to_the_ports_named() {
    if !is_inside("fast_open_sends_the_first_bytes_with_the_syn_to_the_ports_named") {
        return;
    }
    // For all listeners, too.
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1027").unwrap();
    let named = TcpListener::bind("127.0.0.1:4443").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:4444").await.unwrap();
    let egress = Egress::new().with_fast_open([4443]);
    egress.check().unwrap();
    let proxy = proxy(egress).await;
    let echoes = async |listener: &TcpListener| {
        let addr = listener.local_addr().unwrap();
        let (mut client, _) = asks(proxy, "joe", CONNECT, addr).await;
        let accepted = async {
            let (mut target, _) = listener.accept().await.unwrap();
            let mut heard = [0; 5];
            target.read_exact(&mut heard).await.unwrap();
            target.write_all(&heard).await.unwrap();
        };
        tokio::join!(assert_echoes(&mut client, b"hello"), accepted);
    };
    for round in 0..3 {
        patiently("the echo", echoes(&named)).await;
        assert_eq!(with_syn(), round, "first comes the cookie");
        patiently("the echo", echoes(&other)).await;
        assert_eq!(with_syn(), round);
    }
}

/// Connections so far whose first data went with the SYN and were taken.
fn with_syn() -> u64 {
    let said = fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = said.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut both = names.split(' ').zip(values.split(' '));
    let (_, count) = both.find(|(name, _)| *name == "TCPFastOpenActive").unwrap();
    count.parse().unwrap()
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux, ip, of iproute2, and nft, of nftables"]
async fn mptcp_is_offered_and_plain_tcp_is_good_enough() {
    if !is_inside("mptcp_is_offered_and_plain_tcp_is_good_enough") {
        return;
    }
    let far = far();
    filter();
    count(
        "offers",
        &format!("ip daddr {FAR} tcp option mptcp subtype 0"),
    );
    let egress = Egress::new()
        .with_mptcp()
        .with_mark(7)
        .with_interface("wan1");
    egress.check().unwrap();
    let proxy = proxy(egress).await;
    let target = far.tcp.local_addr().unwrap();
    let echo = async {
        loop {
            let (mut stream, _) = far.tcp.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        }
    };
    let checked = async {
        let (mut client, _) = asks(proxy, "joe", CONNECT, target).await;
        assert_echoes(&mut client, &[7; 60_000]).await;
        let offers = counted("offers");
        assert!(offers > 0);
        listened_at(proxy, "joe", far.peer).await;

        // Where the kernel has none.
        fs::write("/proc/sys/net/mptcp/enabled", "0").unwrap();
        drop(client);
        let (mut client, _) = asks(proxy, "joe", CONNECT, target).await;
        assert_echoes(&mut client, b"hello").await;
        assert_eq!(counted("offers"), offers);
    };
    tokio::select! {
        () = checked => {}
        () = echo => {}
    }
}

#[tokio::test]
#[ignore = "needs unshare, of util-linux"]
async fn what_needs_a_right_is_an_error_at_the_start() {
    for (args, said) in [
        (
            &["--mark", "0x7"][..],
            "the mark (SO_MARK) 7: Operation not permitted",
        ),
        (
            &["--interface", "none0"],
            "by interface none0: No such device",
        ),
        (
            &["--source", "127.0.0.1", "--source", "192.0.2.7"],
            "bind to 192.0.2.7: ",
        ),
    ] {
        let mut program = as_root_of_nothing();
        program.arg(child::path()).args(["--listen", "127.0.0.1:0"]);
        program.args(args);
        let mut program = tokio::process::Command::from(program);
        let output = patiently("the proxy", program.kill_on_drop(true).output());
        let output = output.await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}
