//! What is bounded, and what must not hold up anything else.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use socket2::{Domain, SockRef, Socket, Type};
use socks_tower::{
    BoxError, DomainName, Pinned, Request, Target, UdpAssociate, Work, session::DropReason,
};
use tokio::{net::UdpSocket, sync::Semaphore, time::timeout};
use tower::service_fn;

use super::support::{Client, PATIENCE, Proxy, datagram, echo, judge, judge_by, name, resolve};

#[tokio::test]
async fn a_slow_name_holds_up_nothing_else() {
    let target = echo("127.0.0.1").await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let resolver = service_fn(move |Request { target: name, .. }: Request<DomainName>| {
        let gate = Arc::clone(&opened);
        async move {
            if name.as_str() != "v4.example" {
                let _open = gate.acquire().await?;
            }
            Ok::<_, BoxError>(vec![IpAddr::from([127, 0, 0, 1])])
        }
    });
    let mut proxy = Proxy::start(UdpAssociate::new(judge_by(resolver))).await;
    let client = Client::new(&proxy).await;
    let by_name = |label: &str| name(&format!("{label}.example"), target.port());

    // More than are kept for one name, and more names than are looked up.
    for number in 0..7_u8 {
        client.send(&by_name("slow"), &[number]).await;
    }
    for number in 0..40 {
        client
            .send(&by_name(&format!("slow{number}")), b"me too")
            .await;
    }
    client.echo(&target.into(), target, b"an address").await;

    gate.close();
    let _ = gate.acquire().await.unwrap_err();
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    // 7 - 4 of the first name, and 40 - 31 names; the rest found the gate closed,
    // or was still waiting.
    assert_eq!(dropped.of(DropReason::Overload), 3 + 9);
}

#[tokio::test]
async fn what_waited_for_a_name_goes_out_once_it_is_known() {
    let target = echo("127.0.0.1").await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let resolver = service_fn(move |asked| {
        let gate = Arc::clone(&opened);
        async move {
            let _open = gate.acquire().await?;
            resolve(asked).await
        }
    });
    let mut proxy = Proxy::start(UdpAssociate::new(judge_by(resolver))).await;
    let client = Client::new(&proxy).await;
    let by_name = name("v4.example", target.port());

    for number in 0..4_u8 {
        client.send(&by_name, &[number]).await;
    }
    client.send(&name("nowhere.example", 53), b"").await;
    client
        .echo(&target.into(), target, b"all have been read")
        .await;
    gate.add_permits(1);
    for number in 0..4_u8 {
        assert_eq!(client.receive().await, (target, vec![number]));
    }
    client.echo(&by_name, target, b"known by now").await;
    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (6, 6));
    assert!(datagrams.dropped.of(DropReason::Unresolved) <= 1);
}

#[tokio::test]
async fn a_judge_that_panics_costs_one_datagram() {
    let target = echo("127.0.0.1").await;
    let resolver = service_fn(|asked: Request<DomainName>| async move {
        tokio::task::yield_now().await;
        let name = asked.target.as_str();
        assert!(name != "boom.example", "as the test wants it");
        resolve(asked).await
    });
    let mut proxy = Proxy::start(UdpAssociate::new(judge_by(resolver))).await;
    let client = Client::new(&proxy).await;
    client.send(&name("boom.example", 53), b"").await;
    client
        .echo(&name("v4.example", target.port()), target, b"hello")
        .await;
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Unresolved), 1);
}

#[tokio::test]
async fn the_table_holds_its_bound_and_evicts_the_longest_idle() {
    let (kept, gone) = (
        echo("127.0.0.1").await,
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let gone_addr = gone.local_addr().unwrap();
    let associate = UdpAssociate::new(judge()).with_max_flows(64_usize.try_into().unwrap());
    let mut proxy = Proxy::start(associate).await;
    let client = Client::new(&proxy).await;
    client.send(&gone_addr.into(), b"remember me").await;
    let (_, outward) = gone.recv_from(&mut [0; 16]).await.unwrap();
    gone.send_to(b"yes", outward).await.unwrap();
    assert_eq!(client.receive().await, (gone_addr, b"yes".to_vec()));

    // Each is a destination of its own; nobody is there.
    let mut random = 1_u32;
    let mut sent = 0;
    for _ in 0..100_000 / 50 {
        for _ in 0..50 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, a, b, c] = random.to_be_bytes();
            let stranger = SocketAddr::from(([127, a | 1, b, c], 9));
            client.send(&stranger.into(), b"x").await;
            sent += 1;
        }
        // Keeps this one in the table, and us from being faster than the relay.
        client.echo(&kept.into(), kept, b"still here").await;
    }
    assert_eq!(sent, 100_000);

    gone.send_to(b"and now?", outward).await.unwrap();
    client.echo(&kept.into(), kept, b"still here").await;
    drop(client);
    let transfer = proxy.ended().await.unwrap();
    assert_eq!(
        transfer
            .datagrams
            .unwrap()
            .dropped
            .of(DropReason::Unsolicited),
        1
    );
}

/// A socket that others may share its port with.
fn shared(addr: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

/// Of 1,500 peers, as a BitTorrent client has, all that were sent to, how many
/// may answer.
async fn heard(
    associate: UdpAssociate<impl Work<Request, Response = Request<Pinned>> + Sync>,
) -> u64 {
    const PEERS: u16 = 1500;

    let kept = echo("127.0.0.1").await;
    let mut proxy = Proxy::start(associate).await;
    let client = Client::new(&proxy).await;
    // It has the port of all of them, so that nobody else is given it. Each has a socket
    // in its turn.
    let all = shared(SocketAddr::from(([0, 0, 0, 0], 0)));
    let port = all.local_addr().unwrap().port();
    let peer = |number: u16| {
        let [high, low] = number.to_be_bytes();
        SocketAddr::from(([127, 1, high, low], port))
    };
    let mut outward = None;
    for number in 0..PEERS {
        client.send(&peer(number).into(), b"hello").await;
        let (_, from) = all.recv_from(&mut [0; 16]).await.unwrap();
        outward = Some(from);
    }
    for number in 0..PEERS {
        let socket = shared(peer(number));
        socket.send_to(b"hello", outward.unwrap()).await.unwrap();
        if number % 50 == 0 {
            // Keeps us from being faster than the relay.
            client.send(&kept.into(), b"wait").await;
            while client.receive().await.0 != kept {}
        }
    }
    client.send(&kept.into(), b"wait").await;
    while client.receive().await.0 != kept {}
    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    let unsolicited = datagrams.dropped.of(DropReason::Unsolicited);
    assert_eq!(datagrams.dropped.total(), unsolicited);
    u64::from(PEERS) - unsolicited
}

#[tokio::test]
async fn as_many_peers_are_heard_as_were_sent_to_last() {
    // One place is the echo's.
    assert_eq!(heard(UdpAssociate::new(judge())).await, 1023);
}

#[tokio::test]
async fn more_peers_are_heard_where_that_is_set() {
    let associate = UdpAssociate::new(judge()).with_max_flows(1501_usize.try_into().unwrap());
    assert_eq!(heard(associate).await, 1500);
}

#[tokio::test]
async fn a_flood_of_garbage_leaves_the_association_at_work() {
    let target = echo("127.0.0.1").await;
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;
    let mut random = 7_u64;
    for _ in 0..200 {
        for _ in 0..50 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let len = usize::try_from(random % 40).unwrap();
            let mut garbage = random.to_le_bytes().repeat(5);
            garbage.truncate(len);
            // No address type that there is, so that none is by chance a datagram.
            if let Some(kind) = garbage.get_mut(3) {
                *kind |= 0x10;
            }
            client.send_bytes(&garbage).await;
        }
        client.echo(&target.into(), target, b"hello").await;
    }
    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (200, 200));
    assert_eq!(datagrams.dropped.total(), 10_000);
}

#[tokio::test]
async fn datagrams_to_our_own_sockets_go_nowhere() {
    let target = echo("127.0.0.1").await;
    let probe = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let (a, b) = (Client::new(&proxy).await, Client::new(&proxy).await);
    // Where a's datagrams come from.
    a.send(&probe.local_addr().unwrap().into(), b"hello").await;
    let (_, outward) = probe.recv_from(&mut [0; 16]).await.unwrap();

    let mut loops = 0;
    for own in [a.relay, b.relay, outward] {
        for ip in ["127.0.0.1", "0.0.0.0"] {
            let own = Target::new(ip.parse::<IpAddr>().unwrap(), own.port());
            let inner = datagram(0, &target.into(), b"from within");
            for _ in 0..2 {
                a.send(&own, &inner).await;
                loops += 1;
            }
        }
    }
    a.echo(&target.into(), target, b"a").await;
    // Nobody has become b's client in its place.
    b.echo(&target.into(), target, b"b").await;
    drop(a);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!(datagrams.dropped.of(DropReason::Loop), loops);
    assert_eq!(datagrams.up, 2);
}

#[tokio::test]
async fn a_destination_that_becomes_one_of_our_own_sockets_is_cut_off() {
    let target = echo("127.0.0.1").await;
    // A port that is somebody else's now, and an association's later.
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = other.local_addr().unwrap();
    let ports = socks_tower::ListenAddrs::new().with_ports(addr.port()..=addr.port());
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let later = Proxy::start(UdpAssociate::new(judge()).with_listen_addrs(ports)).await;
    let client = Client::new(&proxy).await;
    client.send(&addr.into(), b"hello").await;
    other.recv_from(&mut [0; 8]).await.unwrap();
    drop(other);

    let victim = Client::new(&later).await;
    assert_eq!(victim.relay, addr);
    let inner = datagram(0, &target.into(), b"from within");
    client.send(&addr.into(), &inner).await;
    client.echo(&target.into(), target, b"hello").await;
    victim.echo(&target.into(), target, b"hello").await;
    drop(client);
    let dropped = proxy.ended().await.unwrap().datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Loop), 1);
}

#[tokio::test]
async fn hundreds_wait_in_the_system_while_the_process_is_busy() {
    // Unless told otherwise, Linux holds 256 of these.
    const BURST: usize = 400;
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&target)
        .set_recv_buffer_size(1024 * 1024)
        .unwrap();
    let to = target.local_addr().unwrap().into();
    let proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let client = Client::new(&proxy).await;

    // Nothing else runs on this thread meanwhile.
    for number in 0..BURST {
        let datagram = datagram(0, &to, &number.to_be_bytes());
        client.socket.try_send_to(&datagram, client.relay).unwrap();
    }

    for number in 0..BURST {
        let mut buffer = [0; 64];
        let received = timeout(PATIENCE, target.recv(&mut buffer)).await;
        let len = received.unwrap().unwrap();
        assert_eq!(buffer[..len], number.to_be_bytes());
    }
}
