//! What splices, and what is told not to. By itself, for it counts the pipes of its
//! process.

#![cfg(all(target_os = "linux", feature = "splice"))]
#![expect(clippy::unwrap_used, reason = "a test")]

mod pipes;

use pipes::{pair, pipe_ends};
use socks_tower::{
    BoxStream, Command, Connected, Inbound, Outbound, Relay, Request, Session, Target, Version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::Service;

/// Carries 8 MB down, between sockets whose type is not told; says whether a pipe was used. The thread's pool keeps it.
async fn splices(mut relay: Relay) -> bool {
    let before = pipe_ends();
    let ((mut client, near), (mut target, far)) = tokio::join!(pair(), pair());
    let session = tokio::spawn(relay.call(Connected::new(
        Inbound::new(BoxStream::new(near), Vec::new(), Version::Socks5),
        Outbound::new(far).boxed(),
        Request::new(Session::new(), Command::CONNECT, Target::UNSPECIFIED),
    )));
    let sent: Vec<u8> = (0..=250).cycle().take(8_000_000).collect();
    let receiving = async {
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        drop(client);
        received
    };
    let sending = async {
        target.write_all(&sent).await.unwrap();
        drop(target);
    };
    let (received, ()) = tokio::join!(receiving, sending);
    assert!(received == sent, "{} bytes differ", received.len());
    session.await.unwrap().unwrap();
    pipe_ends() > before
}

#[tokio::test]
async fn boxed_sockets_are_spliced_unless_that_is_switched_off() {
    assert!(!splices(Relay::new().with_splice(false)).await);
    assert!(splices(Relay::new()).await);
}
