//! The UDP client of the crate `fast-socks5`.

use std::{net::SocketAddr, pin::Pin};

use fast_socks5::{
    client::Socks5Datagram,
    util::target_addr::{TargetAddr, ToTargetAddr},
};
use socks_tower::UdpAssociate;
use tokio::{net::TcpStream, time::timeout};

use super::support::{PATIENCE, Proxy, echo, judge};

/// Boxed, for its client has the buffer in its future.
fn exchange<'a, T>(
    client: &'a Socks5Datagram<TcpStream>,
    target: T,
    data: &'a [u8],
) -> Pin<Box<dyn Future<Output = SocketAddr> + 'a>>
where
    T: ToTargetAddr + 'a,
{
    Box::pin(async move {
        client.send_to(data, target).await.unwrap();
        let mut answer = vec![0; 65_536];
        let received = Box::pin(client.recv_from(&mut answer));
        let (len, from) = timeout(PATIENCE, received).await.unwrap().unwrap();
        assert!(answer[..len] == *data);
        match from {
            TargetAddr::Ip(addr) => addr,
            TargetAddr::Domain(name, _) => panic!("{name}"),
        }
    })
}

#[tokio::test]
async fn it_reaches_both_families_and_names_with_datagrams_of_any_length() {
    let (v4, v6) = (echo("127.0.0.1").await, echo("::1").await);
    let mut proxy = Proxy::start(UdpAssociate::new(judge())).await;
    let control = TcpStream::connect(proxy.addr).await.unwrap();
    let client = Socks5Datagram::bind(control, "127.0.0.1:0").await.unwrap();

    for data in [vec![], vec![1; 1200], vec![2; 65_000]] {
        assert_eq!(exchange(&client, v4, &data).await, v4);
        assert_eq!(exchange(&client, v6, &data).await, v6);
        assert_eq!(
            exchange(&client, ("v4.example", v4.port()), &data).await,
            v4
        );
    }
    drop(client);
    let datagrams = proxy.ended().await.unwrap().datagrams.unwrap();
    assert_eq!((datagrams.up, datagrams.down), (9, 9));
    assert_eq!(datagrams.dropped.total(), 0);
}
