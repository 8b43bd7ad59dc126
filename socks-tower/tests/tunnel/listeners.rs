//! Clients that come by something else than TCP.

use std::io;

use socks_tower::{Accepted, Listener, Server, Session, Stream, TcpConnector};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    sync::mpsc,
};

use crate::{
    proxy::socks,
    speaks::Speaks,
    streams::{accept, all_of, hears, patiently, target},
};

/// Reaches a target by way of `client`, whatever that is; half-closes; gets an
/// answer.
async fn converse<Io: Stream>(client: Io) {
    let (mut reading, mut writing) = split(client);
    let listener = target().await;
    let words = Speaks::V5.connect(listener.local_addr().unwrap());
    let conversation = async {
        let sent = [&words, &b"early"[..]].concat();
        writing.write_all(&sent).await.unwrap();
        let mut target = accept(&listener).await;
        hears(&mut target, b"early").await;
        writing.shutdown().await.unwrap();
        assert_eq!(all_of(&mut target).await, b"");
        target.write_all(b"answer").await.unwrap();
    };
    let mut found = Vec::new();
    let reading = reading.read_to_end(&mut found);
    let both = async { tokio::join!(conversation, reading) };
    patiently("the end", both).await.1.unwrap();
    assert!(found.starts_with(b"\x05\x00\x05\x00\x00\x01"), "{found:?}");
    assert!(found.ends_with(b"answer"), "{found:?}");
    assert_eq!(found.len(), 12 + 6);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_unix_socket_are_served() {
    use tokio::net::{UnixListener, UnixStream};

    let name = format!("socks-tower-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(Server::new(listener).serve(socks(TcpConnector::new())));
    for _ in 0..3 {
        converse(UnixStream::connect(&path).await.unwrap()).await;
    }
    serving.abort();
    std::fs::remove_file(&path).unwrap();
}

/// A listener of the user's own.
struct Memory(mpsc::Receiver<DuplexStream>);

impl Listener for Memory {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Accepted<DuplexStream>> {
        let io = self.0.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Accepted::new(io, Session::new()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_in_memory_are_served_until_their_listener_is_broken() {
    let (clients, listener) = mpsc::channel(1);
    let server = Server::new(Memory(listener));
    let serving = tokio::spawn(server.serve(socks(TcpConnector::new())));
    for capacity in [1, 64, 4096] {
        let (client, io) = duplex(capacity);
        clients.send(io).await.unwrap();
        converse(client).await;
    }
    drop(clients);
    let served = patiently("the server", serving).await.unwrap();
    assert_eq!(served.unwrap_err().to_string(), "cannot accept connections");
}
