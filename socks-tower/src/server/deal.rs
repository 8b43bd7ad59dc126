//! Connections dealt out among threads, each of which has listeners of its own.

use std::{
    future::poll_fn,
    io,
    sync::{Arc, OnceLock},
    task::Poll,
};

use tokio::{net::TcpStream, runtime::Handle, sync::mpsc};

use super::{Listener, TcpAcceptor, tcp::poll_any};
use crate::session::{Accepted, Session};

/// How many connections may be on their way to a thread.
const ON_THEIR_WAY: usize = 64;

/// What a thread is handed.
type Handed = (std::net::TcpStream, Session);

/// What the other threads know of one.
struct Thread {
    /// None before it serves.
    runtime: OnceLock<Handle>,
    hand: mpsc::Sender<Handed>,
}

impl Thread {
    /// About as many as it has sessions.
    fn load(&self) -> Option<usize> {
        let on_their_way = self.hand.max_capacity() - self.hand.capacity();
        let runtime = self.runtime.get()?;
        Some(runtime.metrics().num_alive_tasks() + on_their_way)
    }
}

/// The listeners of one thread. It hands a connection on if another thread has clearly
/// fewer.
///
/// The kernel deals out by a hash of the addresses: of two connections it gives both to
/// one thread every other time, and the other thread idles.
pub(super) struct Dealer {
    own: Vec<TcpAcceptor>,
    handed: mpsc::Receiver<Handed>,
    threads: Arc<[Thread]>,
    /// Which of them this is.
    number: usize,
    /// How far behind it the one is that it was compared with last. They take turns: a
    /// look at all would cost more, the more there are.
    next: usize,
}

/// What becomes the dealer of one thread there.
pub(super) struct Seat {
    handed: mpsc::Receiver<Handed>,
    threads: Arc<[Thread]>,
    number: usize,
}

/// Seats for so many threads.
pub(super) fn seats(threads: usize) -> impl Iterator<Item = Seat> {
    let (threads, ends): (Vec<_>, Vec<_>) = (0..threads)
        .map(|_| {
            let (hand, handed) = mpsc::channel(ON_THEIR_WAY);
            let runtime = OnceLock::new();
            (Thread { runtime, hand }, handed)
        })
        .unzip();
    let threads: Arc<[_]> = threads.into();
    let seat = move |(number, handed)| Seat {
        handed,
        threads: Arc::clone(&threads),
        number,
    };
    ends.into_iter().enumerate().map(seat)
}

impl Seat {
    /// Within the runtime that serves.
    pub(super) fn take(self, own: Vec<TcpAcceptor>) -> Dealer {
        if let Some(this) = self.threads.get(self.number) {
            let _ = this.runtime.set(Handle::current());
        }
        Dealer {
            own,
            handed: self.handed,
            threads: self.threads,
            number: self.number,
            next: 0,
        }
    }
}

impl Dealer {
    /// With another thread, if that has clearly fewer connections.
    fn place_elsewhere(&mut self) -> Option<mpsc::Permit<'_, Handed>> {
        let all = self.threads.len();
        self.next = self.next.checked_rem(all - 1)? + 1;
        let this = self.threads.get(self.number)?;
        let other = self.threads.get((self.number + self.next) % all)?;
        let theirs = other.load()?;
        // Some more are chance, and soon end.
        let is_clear = this.load()? > theirs + theirs / 2;
        is_clear.then(|| other.hand.try_reserve().ok()).flatten()
    }
}

impl Listener for Dealer {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Accepted<TcpStream>> {
        loop {
            let (accepted, was_handed) = poll_fn(|cx| {
                if let Poll::Ready(Some((io, session))) = self.handed.poll_recv(cx) {
                    let io = TcpStream::from_std(io);
                    return Poll::Ready(io.map(|io| (Accepted::new(io, session), true)));
                }
                poll_any(&mut self.own, cx).map_ok(|accepted| (accepted, false))
            })
            .await?;
            if was_handed {
                return Ok(accepted);
            }
            match self.place_elsewhere() {
                Some(place) => place.send((accepted.io.into_std()?, accepted.session)),
                None => return Ok(accepted),
            }
        }
    }
}
