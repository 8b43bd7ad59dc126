//! How a task lets others have their turn.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
};

use tokio::task::yield_now;

/// Has the task polled again once all others that can run have had a turn, and what
/// has come to sockets meanwhile has been looked at.
///
/// One that wakes itself comes before that: Tokio looks at sockets only once nobody can
/// run, or after dozens of turns. Whoever waits for a small answer would wait for as
/// many bursts.
pub(crate) fn give_way(cx: &mut Context<'_>) {
    let first: Poll<()> = pin!(yield_now()).poll(cx);
    debug_assert!(first.is_pending(), "it wakes the task");
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn sockets_are_looked_at_between_the_turns_of_who_never_rests() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (mut near, (mut far, _)) = (near.await.unwrap(), listener.accept().await.unwrap());
        let turns = Arc::new(AtomicU32::new(0));
        let taken = Arc::clone(&turns);
        let busy = tokio::spawn(poll_fn(move |cx| -> Poll<()> {
            taken.fetch_add(1, Ordering::Relaxed);
            give_way(cx);
            Poll::Pending
        }));

        for _ in 0..100 {
            let before = turns.load(Ordering::Relaxed);
            near.write_all(b"?").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
            let meanwhile = turns.load(Ordering::Relaxed) - before;
            assert!(meanwhile <= 4, "{meanwhile} turns until a byte is read");
        }
        busy.abort();
    }
}
