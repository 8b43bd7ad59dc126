//! Descriptors that must be gone. They are counted for the whole process, so
//! this is a process of its own, with a single test.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]
#![cfg(target_os = "linux")]

use socks_tower::{Command, Pinned, Request, Session, Target, TcpConnector, works::tcp::Race};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
};
use tower::ServiceExt;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_dial_that_is_dropped_closes_its_sockets() {
    // The queue of this listener is full, so that further dials hang.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let silent = listener.local_addr().unwrap();
    let _first = TcpStream::connect(silent).await.unwrap();
    let _second = TcpStream::connect(silent).await.unwrap();

    let (opened, mut wait_opened) = mpsc::unbounded_channel();
    let connector = TcpConnector::new()
        .with_race(Race::new().with_delay(Race::MIN_DELAY))
        .with_setup(move |_, _| {
            opened.send(()).unwrap();
            Ok(())
        });
    for attempts in [1, 3] {
        let target = Target::from(silent);
        let pinned = Pinned::new(target, vec![silent; attempts]);
        let request = Request::new(Session::new(), Command::CONNECT, pinned);

        let before = descriptors();
        let mut dial = Box::pin(connector.clone().oneshot(request));
        for _ in 0..attempts {
            tokio::select! {
                dialled = &mut dial => panic!("{dialled:?}"),
                opened = wait_opened.recv() => opened.unwrap(),
            }
        }
        assert_eq!(descriptors(), before + attempts);
        drop(dial);
        assert_eq!(descriptors(), before);
    }
}
