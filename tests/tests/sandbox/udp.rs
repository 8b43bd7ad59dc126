//! UDP ASSOCIATE where the calls for many datagrams are refused.

use std::net::SocketAddr;

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::{associate, datagram},
    patiently, sandbox,
};
use tokio::net::{TcpStream, UdpSocket};

use super::{EINVAL, ENOSYS, EPERM, rule};

const ARGS: &[&str] = &["--allow-private"];

/// More than a batch of them, alike, at once.
const BURST: u8 = 40;

/// A client with an association, and a target.
struct Peers<'a> {
    child: &'a Child,
    client: UdpSocket,
    relay: SocketAddr,
    target: UdpSocket,
    /// The association lives as long as this.
    _control: TcpStream,
}

impl<'a> Peers<'a> {
    async fn of(child: &'a Child) -> Self {
        let (control, relay) = associate(child.addr()).await.unwrap();
        let bind = || UdpSocket::bind("127.0.0.1:0");
        Self {
            child,
            client: bind().await.unwrap(),
            relay,
            target: bind().await.unwrap(),
            _control: control,
        }
    }

    /// Sends bursts of `len` datagrams there and back, alike and not, and
    /// expects each whole, alone and in order.
    async fn exchange(&self, bursts: u8, len: u8) {
        let to = self.target.local_addr().unwrap();
        for burst in 0..bursts {
            let sent: Vec<_> = (0..len).map(|number| data(burst, number)).collect();
            let framed: Vec<_> = sent.iter().map(|data| datagram(to, data)).collect();
            let from = self.burst(&self.client, self.relay, &framed, &self.target, &sent);
            let from = from.await;
            self.burst(&self.target, from, &sent, &self.client, &framed)
                .await;
        }
    }

    /// Has the proxy find all that is `sent` at once; says where what came is
    /// from.
    async fn burst(
        &self,
        from: &UdpSocket,
        to: SocketAddr,
        sent: &[Vec<u8>],
        receiver: &UdpSocket,
        expected: &[Vec<u8>],
    ) -> SocketAddr {
        self.child.signal(Signal::STOP);
        for bytes in sent {
            from.send_to(bytes, to).await.unwrap();
        }
        self.child.signal(Signal::CONT);
        let mut source = None;
        for expected in expected {
            let (bytes, from) = receive(receiver).await;
            assert_eq!(&bytes, expected);
            source = Some(from);
        }
        source.unwrap()
    }
}

/// Of the same length in every other burst; of two in turns in the others,
/// which nobody sends as one.
fn data(burst: u8, number: u8) -> Vec<u8> {
    let mut data = vec![burst, number, 7, 7];
    if burst % 2 == 1 && number % 2 == 1 {
        data.push(7);
    }
    data
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let received = patiently("a datagram", socket.recv_from(&mut bytes)).await;
    let (len, from) = received.unwrap();
    bytes.truncate(len);
    (bytes, from)
}

/// Refused from the start, and once it has worked for a while.
#[tokio::test]
async fn datagrams_pass_one_by_one_where_batches_are_refused() {
    for (call, errno, skip) in [
        ("recvmmsg", ENOSYS, 0),
        ("recvmmsg", EPERM, 2),
        ("recvmmsg", EINVAL, 0),
        ("sendmmsg", ENOSYS, 0),
        ("sendmmsg", EPERM, 0),
        ("sendmmsg", EINVAL, 1),
        ("sendmsg", ENOSYS, 0),
        ("sendmsg", EPERM, 1),
    ] {
        let rules = [rule(call, &format!(":{errno}:{skip}"))];
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        let child = Child::start_refusing(&rules, ARGS).await;
        Peers::of(&child).await.exchange(4, BURST).await;
        // A second association knows already.
        Peers::of(&child).await.exchange(2, BURST).await;
        let said = child.log().matches(call).count();
        assert_eq!(said, 1, "{call} {errno}: {}", child.log());
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_once_loses_nothing() {
    for call in ["recvmmsg", "sendmmsg", "sendmsg"] {
        let rule = rule(call, &format!(":{EPERM}:1:1"));
        let child = Child::start_refusing(&[&rule], ARGS).await;
        Peers::of(&child).await.exchange(4, BURST).await;
    }
}

#[tokio::test]
async fn datagrams_pass_where_segments_are_refused() {
    // SOL_UDP, UDP_SEGMENT
    for errno in [ENOSYS, EPERM, EINVAL] {
        let rule = rule("getsockopt", &format!(",1=17,2=103:{errno}"));
        let child = Child::start_refusing(&[&rule], ARGS).await;
        Peers::of(&child).await.exchange(4, BURST).await;
        Peers::of(&child).await.exchange(2, BURST).await;
        let said = child.log().matches("UDP_SEGMENT").count();
        assert_eq!(said, 1, "{errno}: {}", child.log());
    }
}

#[tokio::test]
async fn datagrams_stay_apart_on_a_kernel_that_passes_over_segments() {
    let child = Child::start_preloading(sandbox::without_segments(), ARGS).await;
    Peers::of(&child).await.exchange(40, 12).await;
}

/// As a filter that only knows one datagram a call.
#[tokio::test]
async fn datagrams_pass_where_all_batches_are_refused() {
    let rules = ["recvmmsg", "sendmmsg", "sendmsg"].map(|call| rule(call, ":1"));
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let child = Child::start_refusing(&rules, ARGS).await;
    Peers::of(&child).await.exchange(4, BURST).await;
}
