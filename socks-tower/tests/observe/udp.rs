//! UDP associations, whose datagrams are told too.

use socks_tower::{Command, session::DropReason};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
};

use crate::proxy::{Proxy, patiently};

/// An association that has carried five bytes up and back, in a datagram each,
/// and dropped one that is malformed.
pub(crate) async fn associate(proxy: &Proxy) -> (TcpStream, UdpSocket) {
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
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client
        .connect(std::net::SocketAddr::from(relay))
        .await
        .unwrap();

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
