//! What a client sends beyond its rate is dropped and counted, over loopback.

use std::{error::Error, net::SocketAddr, time::Instant};

use socks_tower::{
    Encode, Rules, Server,
    middleware::{Observer, observe::Record},
    session::{Datagrams, DropReason},
    socks_core::v5::udp::{Fragment, Header},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};

/// Tells the totals of an association, as it goes on.
struct Tell(UnboundedSender<Datagrams>);

impl Observer for Tell {
    fn datagrams(&self, record: &Record, _more: &Datagrams) {
        let _ = self.0.send(record.datagrams().unwrap_or_default());
    }
}

/// Opens an association: the connection that keeps it, and where to send.
async fn associate(proxy: SocketAddr) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut client = TcpStream::connect(proxy).await?;
    client.write_all(b"\x05\x01\x00").await?;
    client.write_all(b"\x05\x03\x00\x01\0\0\0\0\0\0").await?;
    let mut heard = [0; 12];
    client.read_exact(&mut heard).await?;
    assert_eq!(heard[..10], *b"\x05\0\x05\0\0\x01\x7f\0\0\x01");
    let port = u16::from_be_bytes([heard[10], heard[11]]);
    Ok((client, ([127, 0, 0, 1], port).into()))
}

#[tokio::test]
async fn more_are_dropped_and_counted() -> Result<(), Box<dyn Error>> {
    const RATE: u64 = 20; // of which 2 at once
    let (tell, mut told) = unbounded_channel();
    let server = Server::bind("127.0.0.1:0").await?;
    let addr = server.local_addr();
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    tokio::spawn(server.serve(packet_rate::proxy(RATE, rules, Tell(tell))));

    let target = UdpSocket::bind("127.0.0.1:0").await?;
    let header = Header {
        fragment: Fragment::STANDALONE,
        target: target.local_addr()?.into(),
    };
    let began = Instant::now();
    let mut passed = 0;
    // Two associations of one client, one after the other, share its rate.
    for _ in 0..2 {
        let (keeps, relay) = associate(addr).await?;
        let client = UdpSocket::bind("127.0.0.1:0").await?;
        for _ in 0..100 {
            client.send_to(&header.to_bytes(), relay).await?;
        }
        // All are accounted for before the association ends.
        let mut total = Datagrams::default();
        while total.up + total.dropped.of(DropReason::Throttled) < 100 {
            total = told.recv().await.ok_or("no association")?;
        }
        drop(keeps);
        passed += total.up;
    }
    let most = 2 + (RATE as f64 * began.elapsed().as_secs_f64()) as u64;
    assert!(
        (2..=most).contains(&passed),
        "{passed} of 200, {most} at most"
    );
    // Each that was counted as sent is there, and no other.
    for _ in 0..passed {
        target.recv(&mut [0; 1]).await?;
    }
    assert!(target.try_recv(&mut [0; 1]).is_err());
    Ok(())
}
