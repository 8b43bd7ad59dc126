//! Descriptors of BIND that must be gone. They are counted for the whole
//! process, so this is a process of its own, with a single test.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

use std::{convert::Infallible, net::SocketAddr};

use socks_core::server::Version;
use socks_tower::{
    BindLayer, Command, Inbound, Pinned, Relay, Request, Requested, Session, Target, TcpAcceptor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpSocket, TcpStream},
};
use tower::{Layer, ServiceExt, service_fn};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn every_end_of_a_bind_closes_its_sockets() {
    // What the runtime opens once is open from here on.
    drop(TcpAcceptor::listen("127.0.0.1:0".parse().unwrap()).unwrap());
    let before = descriptors();

    for end in ["gone", "cut", "wrong peer", "silence", "over"] {
        let permit = service_fn(|request: Request| async move {
            let addr = request.target.socket_addr().unwrap();
            Ok::<_, Infallible>(request.with_target(Pinned::from(addr)))
        });
        let timeout = match end {
            "silence" => std::time::Duration::ZERO,
            _ => BindLayer::<()>::DEFAULT_TIMEOUT,
        };
        let layer = BindLayer::new(permit).with_timeout(timeout);
        let (mut client, io) = duplex(256);
        let target: Target = "127.0.0.1:21".parse().unwrap();
        let requested = Requested::new(
            Inbound::new(io, Vec::new(), Version::Socks5),
            Request::new(Session::new(), Command::BIND, target),
        );
        let session = tokio::spawn(layer.layer(Relay::new()).oneshot(requested));
        let mut reply = [0; 10];
        client.read_exact(&mut reply).await.unwrap();
        let port = u16::from_be_bytes([reply[8], reply[9]]);
        let bound = SocketAddr::from(([127, 0, 0, 1], port));
        match end {
            "gone" => {
                assert_eq!(descriptors(), before + 1, "the listener");
                client.shutdown().await.unwrap();
                assert!(session.await.unwrap().is_err());
            }
            "cut" => {
                session.abort();
                assert!(session.await.unwrap_err().is_cancelled());
            }
            "wrong peer" => {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
                let mut wrong = socket.connect(bound).await.unwrap();
                assert_eq!(wrong.read(&mut [0; 1]).await.unwrap(), 0);
                drop(wrong);
                assert_eq!(descriptors(), before + 1, "the listener stays");
                client.shutdown().await.unwrap();
                assert!(session.await.unwrap().is_err());
            }
            "silence" => {
                client.shutdown().await.unwrap();
                assert!(session.await.unwrap().is_err());
            }
            _ => {
                let peer = TcpStream::connect(bound).await.unwrap();
                client.read_exact(&mut reply).await.unwrap();
                assert_eq!(descriptors(), before + 2, "both ends, and no listener");
                drop((client, peer));
                assert!(session.await.unwrap().is_ok());
            }
        }
        assert_eq!(descriptors(), before, "{end}");
    }
}
