//! One direction of a tunnel.

#[cfg_attr(not(all(feature = "splice", target_os = "linux")), path = "no_pipe.rs")]
mod pipe;
mod read;
mod scratch;
mod splice;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use self::pipe::Pipe;
use super::lane::{Allowance, Fate, Lane};
use crate::session::{BulkThreads, Stream, give_way, tcp};

/// Reads in a row before the other direction, and other tasks, have their turn.
const READS: usize = 16;

/// Bytes on their way from one stream, the source, to the other.
#[derive(Debug, Default)]
pub(super) struct Flow {
    held: Held,
    bytes: u64,
    state: State,
    /// The destination may still hold back some of what it took.
    unflushed: bool,
    fin_passed: bool,
    /// More may wait in the source than Tokio knows of.
    unsure: bool,
    /// The next read is to find out.
    looks: bool,
    /// Go by `splice(2)` while this lasts.
    splicing: bool,
    /// Whether it may.
    may_splice: bool,
}

/// What was read and the destination has not taken. Nothing is read meanwhile, but
/// behind what waits for a tap.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    /// In a box of its own, for most tunnels never have any.
    Bytes(Box<Rest>),
    /// Between two plain sockets. It is not empty.
    Pipe(Pipe),
}

#[derive(Debug)]
struct Rest {
    bytes: Box<[u8]>,
    taken: usize,
    /// A tap has yet to see what follows.
    waits: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The source's end was read, and is to be passed on.
    SourceEnded,
    Ended,
}

/// The connection that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Source,
    Destination,
}

impl Flow {
    /// Begins with nothing.
    pub(super) fn new(may_splice: bool) -> Self {
        Self {
            may_splice,
            ..Self::default()
        }
    }

    /// Begins with bytes that were read before; `ended` if the source's end was too.
    pub(super) fn starting_with(early: Vec<u8>, ended: bool, may_splice: bool) -> Self {
        Self {
            held: Held::new(early.into_boxed_slice()),
            state: if ended {
                State::SourceEnded
            } else {
                State::Open
            },
            ..Self::new(may_splice)
        }
    }

    /// What it began with waits for what follows.
    pub(super) fn hold_back(&mut self) {
        if let Held::Bytes(rest) = &mut self.held {
            rest.waits = true;
        }
    }

    /// Bytes that the destination has taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The destination has not taken all that was read.
    pub(super) fn holds_bytes(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    /// Nothing more will move.
    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The destination has been told of the source's end.
    pub(super) fn has_passed_fin(&self) -> bool {
        self.fin_passed
    }

    /// See [`read::Read`].
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure && self.state == State::Open
    }

    /// Has the next poll read whether Tokio knows of anything or not.
    pub(super) fn look(&mut self) {
        self.looks = std::mem::take(&mut self.unsure);
    }

    /// Ends here; what is held has nowhere to go.
    pub(super) fn abandon(&mut self) {
        self.held = Held::Nothing;
        self.state = State::Ended;
    }

    /// Moves bytes until the source has none, the destination takes none, or it
    /// is another's turn. Ready once the source's end has been passed on,
    /// silently if not `pass_fin`.
    ///
    /// It is another's turn after `burst` bytes too. No more is read than `lane` grants. What is held waits for the
    /// destination alone.
    ///
    /// When the source breaks, all that it sent before has been written: poll
    /// once more to flush it.
    pub(super) fn poll<S: Stream, D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        destination: &mut D,
        pass_fin: bool,
        burst: u64,
        mut lane: Lane<'_>,
    ) -> Poll<Result<(), Broken>> {
        let burst = self.bytes + burst;
        for _ in 0..READS {
            ready!(self.poll_write_held(cx, destination))?;
            match self.state {
                State::Open if self.bytes >= burst => break,
                State::Open => {}
                State::SourceEnded => return self.poll_end(cx, destination, pass_fin),
                State::Ended => return Poll::Ready(Ok(())),
            }
            // A throttle that is asked for nothing's sake reckons twice.
            if lane.is_throttled()
                && !self.looks
                && tcp(source).is_some_and(|source| source.poll_read_ready(cx).is_pending())
            {
                ready!(self.poll_flush(cx, destination))?;
                return Poll::Pending;
            }
            let want = if self.splicing {
                splice::MOST
            } else {
                scratch::LEN
            };
            let Some(mut allowance) = lane.take(want) else {
                // It may be long: let no buffer sit on what came before.
                ready!(self.poll_flush(cx, destination))?;
                return Poll::Pending;
            };
            if self.splicing && self.splice(source, destination, &mut allowance)? {
                continue;
            }
            ready!(self.poll_copy(cx, source, destination, &mut allowance))?;
        }
        give_way(cx);
        Poll::Pending
    }

    /// One read, and a write of what it brought.
    fn poll_copy<S: Stream, D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        destination: &mut D,
        allowance: &mut Allowance<'_>,
    ) -> Poll<Result<(), Broken>> {
        scratch::with(|buffer| {
            let most = buffer.len().min(allowance.bytes());
            let buffer = buffer.get_mut(..most).unwrap_or_default();
            let looks = std::mem::take(&mut self.looks);
            let read = match read::poll_read(cx, source, buffer, looks) {
                Poll::Ready(Ok(read)) => read,
                Poll::Ready(Err(_)) => {
                    self.state = State::SourceEnded;
                    return Poll::Ready(Err(Broken::Source));
                }
                // The burst is over: let no buffer sit on its end.
                Poll::Pending => {
                    ready!(self.poll_flush(cx, destination))?;
                    return Poll::Pending;
                }
            };
            let mut rest = buffer.get(..read.len).unwrap_or_default();
            if rest.is_empty() {
                self.state = State::SourceEnded;
            }
            self.unsure = read.is_short;
            let fate = allowance.show(rest);
            if fate == Fate::Stops {
                return Poll::Pending;
            }
            if fate == Fate::Holds || self.holds_bytes() {
                self.held.append(rest, fate == Fate::Holds);
                return Poll::Ready(Ok(()));
            }
            // There may be much more where this came from, which nobody would see.
            let is_bulk = rest.len() == most && most >= splice::LEAST;
            let is_spliced = self.may_splice && is_bulk && fate == Fate::Passes;
            // One that is about to move needs no pipe of a thread that it leaves.
            self.splicing |= is_spliced && !BulkThreads::are_offered();
            while !rest.is_empty() {
                let Poll::Ready(taken) = self.poll_write(cx, destination, rest) else {
                    self.held = Held::new(rest.into());
                    return Poll::Pending;
                };
                rest = rest.get(taken?..).unwrap_or_default();
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_write_held<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut D,
    ) -> Poll<Result<(), Broken>> {
        // Taken out, so that it is gone unless there is a reason to put it back.
        match std::mem::take(&mut self.held) {
            Held::Nothing => Poll::Ready(Ok(())),
            Held::Bytes(rest) if rest.waits && self.state == State::Open => {
                self.held = Held::Bytes(rest);
                Poll::Ready(Ok(()))
            }
            Held::Bytes(rest) => self.poll_write_rest(cx, destination, rest),
            Held::Pipe(pipe) => self.poll_drain(cx, destination, pipe),
        }
    }

    fn poll_write_rest<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut D,
        mut rest: Box<Rest>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let bytes = rest.bytes.get(rest.taken..).unwrap_or_default();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_write(cx, destination, bytes) {
                Poll::Ready(taken) => rest.taken += taken?,
                Poll::Pending => {
                    self.held = Held::Bytes(rest);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes some of `bytes`, which are not empty, and says how many.
    fn poll_write<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut D,
        bytes: &[u8],
    ) -> Poll<Result<usize, Broken>> {
        match ready!(Pin::new(destination).poll_write(cx, bytes)) {
            Ok(0) | Err(_) => Poll::Ready(Err(Broken::Destination)),
            Ok(taken) => {
                self.bytes += taken as u64;
                self.unflushed = true;
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_flush<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut D,
    ) -> Poll<Result<(), Broken>> {
        if self.unflushed {
            let flushed = ready!(Pin::new(destination).poll_flush(cx));
            self.unflushed = false;
            flushed.map_err(|_error| Broken::Destination)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_end<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut D,
        pass_fin: bool,
    ) -> Poll<Result<(), Broken>> {
        ready!(self.poll_flush(cx, destination))?;
        if pass_fin {
            let shut = ready!(Pin::new(destination).poll_shutdown(cx));
            shut.map_err(|_error| Broken::Destination)?;
            self.fin_passed = true;
        }
        self.state = State::Ended;
        Poll::Ready(Ok(()))
    }
}

impl Rest {
    /// All of `bytes`, which wait for nobody.
    fn new(bytes: Box<[u8]>) -> Box<Self> {
        Box::new(Self {
            bytes,
            taken: 0,
            waits: false,
        })
    }
}

impl Held {
    fn new(bytes: Box<[u8]>) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        Self::Bytes(Rest::new(bytes))
    }

    /// Adds what came behind bytes that waited, or came first.
    fn append(&mut self, more: &[u8], waits: bool) {
        let mut bytes = match std::mem::take(self) {
            Self::Bytes(rest) => rest.bytes.into_vec(),
            Self::Nothing | Self::Pipe(_) => Vec::new(),
        };
        bytes.extend_from_slice(more);
        *self = Self::new(bytes.into_boxed_slice());
        if let Self::Bytes(rest) = self {
            rest.waits = waits;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::session::policy::Direction;

    #[tokio::test]
    async fn what_was_held_is_freed_once_it_is_taken() {
        let (mut client, mut near) = duplex(100);
        let (mut far, mut target) = duplex(10);
        let mut flow = Flow::default();
        let mut poll = |flow: &mut Flow| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let lane = Lane::new(None, Direction::Up);
            flow.poll(&mut cx, &mut near, &mut far, true, 1024, lane)
                .is_pending()
        };

        client.write_all(b"twelve bytes").await.unwrap();
        assert!(poll(&mut flow));
        assert_eq!(flow.bytes(), 10);
        assert!(matches!(&flow.held, Held::Bytes(rest) if &*rest.bytes == b"es"));

        target.read_exact(&mut [0; 10]).await.unwrap();
        assert!(poll(&mut flow));
        assert_eq!(flow.bytes(), 12);
        assert!(matches!(flow.held, Held::Nothing));
    }
}
