//! UDP associations, whose datagrams are told too.

use std::sync::Arc;

use socks_tower::{
    Accepted, Command, Direction, Grant, Throttle,
    middleware::{
        ObserveLayer, Observer, Sessions,
        observe::{Record, Summary},
    },
    session::{Datagrams, DropReason},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
    sync::mpsc,
};
use tower::ServiceBuilder;

use crate::proxy::{Keep, Proxy, patiently, stack};

/// The connection of a new association, and a socket that sends to it.
async fn open(proxy: &Proxy) -> (TcpStream, UdpSocket) {
    let mut control = proxy
        .client(b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0")
        .await;
    let mut heard = [0; 12];
    control.read_exact(&mut heard).await.unwrap();
    let relay = (
        [heard[6], heard[7], heard[8], heard[9]],
        u16::from_be_bytes([heard[10], heard[11]]),
    );
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client
        .connect(std::net::SocketAddr::from(relay))
        .await
        .unwrap();
    (control, client)
}

/// An association that has carried five bytes up and back, in a datagram each,
/// and dropped one that is malformed.
pub(crate) async fn associate(proxy: &Proxy) -> (TcpStream, UdpSocket) {
    let (control, client) = open(proxy).await;
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port().to_be_bytes();
    let datagram = [b"\0\0\0\x01\x7f\0\0\x01".as_slice(), &port, b"hello"].concat();
    client.send(b"bad").await.unwrap();
    client.send(&datagram).await.unwrap();
    let mut bytes = [0; 64];
    let (len, from) = patiently("a datagram", target.recv_from(&mut bytes))
        .await
        .unwrap();
    assert_eq!(bytes.get(..len), Some(b"hello".as_slice()));
    target.send_to(b"hello", from).await.unwrap();
    patiently("the answer", client.recv(&mut bytes))
        .await
        .unwrap();
    (control, client)
}

#[tokio::test]
async fn an_association_is_told_with_its_datagrams_however_it_ends() {
    for outcome in ["closed", "ended", "cut"] {
        let mut proxy = Proxy::start().await;
        let (control, _client) = associate(&proxy).await;
        match outcome {
            "closed" => drop(control),
            "ended" => proxy.sessions.list()[0].end(),
            _ => proxy.stop().await,
        }

        let told = proxy.told().await;

        assert_eq!(told.outcome, outcome);
        assert_eq!(told.record.command, Some(Command::UDP_ASSOCIATE));
        assert!(told.record.established);
        assert_eq!(told.bytes, (5, 5), "{outcome}");
        let datagrams = told.datagrams.unwrap();
        assert_eq!((datagrams.up, datagrams.down), (1, 1));
        assert_eq!(datagrams.dropped.of(DropReason::Malformed), 1);
        proxy.stop().await;
        assert!(proxy.has_told_all());
    }
}

/// Refuses all.
struct Shut;

impl Throttle for Shut {
    fn take(&self, _: Direction, _: u64) -> Grant {
        Grant::Wait(tokio::time::Instant::now())
    }

    fn give_back(&self, _: Direction, _: u64) {}
}

/// Tells what it is told of datagrams: what is new, and what stands in the
/// record.
struct Live(mpsc::UnboundedSender<(Datagrams, Datagrams)>);

impl Observer for Live {
    fn datagrams(&self, record: &Record, more: &Datagrams) {
        let _ = self.0.send((*more, record.datagrams().unwrap()));
    }

    fn ended(&self, summary: &Summary<'_>) {
        let all = summary.datagrams.unwrap();
        assert_eq!(summary.record.datagrams(), Some(all));
    }
}

#[tokio::test]
async fn what_a_throttle_drops_is_told_while_the_association_lives() {
    let (tell, mut live) = mpsc::unbounded_channel();
    let (keep, told) = Keep::new();
    let sessions = Sessions::new();
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(keep))
        .layer(ObserveLayer::new(Live(tell)))
        .map_request(|mut accepted: Accepted<TcpStream>| {
            accepted.session.policy.add_throttle(Arc::new(Shut));
            accepted
        })
        .service(stack(&sessions));
    let mut proxy = Proxy::serve(stack, sessions, told).await;
    let (control, client) = open(&proxy).await;

    for all in 1..=3 {
        client
            .send(b"\0\0\0\x01\x7f\0\0\x01\0\x09hello")
            .await
            .unwrap();
        let (more, so_far) = patiently("news", live.recv()).await.unwrap();
        assert_eq!(more.dropped.of(DropReason::Throttled), 1);
        assert_eq!(so_far.dropped.of(DropReason::Throttled), all);
        assert_eq!((more.up, more.dropped.total()), (0, 1));
    }
    drop(control);
    let dropped = proxy.told().await.datagrams.unwrap().dropped;
    assert_eq!(dropped.of(DropReason::Throttled), 3);
    assert!(live.try_recv().is_err(), "nothing is told twice");
}
