//! A tunnel that moves when there is no descriptor left. They are counted for the whole
//! process, so this is a process of its own, with a single test.

#![cfg(target_os = "linux")]

use std::{fs::File, num::NonZeroUsize, os::fd::AsRawFd, thread, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socks_tower::{Accepted, Direction, Meter, Rules, Socks5, ThreadedServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tower::ServiceBuilder;

const BULK: usize = 16 * 1024 * 1024;

struct Tells(mpsc::UnboundedSender<bool>);

impl Meter for Tells {
    fn record(&self, _: Direction, _: u64) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        let _ = self.0.send(name.starts_with("socks-bulk"));
    }
}

#[tokio::test]
async fn bulk_moves_without_a_descriptor_to_spare() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let stack = ServiceBuilder::new()
        .map_request(move |mut accepted: Accepted<TcpStream>| {
            accepted.session.policy.add_meter(Tells(tell.clone()));
            accepted
        })
        .service(Socks5::new().with_rules(Rules::new().permit_all_special()));
    let one = NonZeroUsize::MIN;
    let server = ThreadedServer::bind(&["127.0.0.1:0".parse().unwrap()], one).unwrap();
    let addr = *server.local_addrs().first().unwrap();
    tokio::spawn(server.serve(stack));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    let mut client = TcpStream::connect(addr).await.unwrap();
    let hello = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low];
    client.write_all(&hello).await.unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    let (mut target, _) = listener.accept().await.unwrap();

    // The lowest that is free: from there on none is to be had.
    let free = File::open("/dev/null").unwrap().as_raw_fd();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = u64::try_from(free).ok();
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    File::open("/dev/null").unwrap_err();

    let (sent, mut heard) = (vec![7; BULK], vec![0; BULK]);
    let both = async { tokio::join!(target.write_all(&sent), client.read_exact(&mut heard)) };
    let (written, read) = timeout(Duration::from_secs(20), both).await.unwrap();
    written.unwrap();
    read.unwrap();
    assert!(sent == heard);
    let mut moved = false;
    while let Ok(there) = told.try_recv() {
        moved |= there;
    }
    assert!(moved);
}
