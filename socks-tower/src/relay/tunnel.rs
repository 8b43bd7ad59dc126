//! Two streams, joined.

use std::{
    any::Any,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use super::{
    End, Transfer,
    flow::{Broken, Flow},
    sent,
    timeouts::{Phase, Timeouts},
};
use crate::{Stream, tcp};

/// Both streams, and all that is known of the bytes between them.
pub(super) struct Tunnel<Io, Up> {
    client: Io,
    upstream: Up,
    up: Flow,
    down: Flow,
    started: Instant,
    /// When something last moved, or a side broke.
    active: Instant,
    broken: Option<Side>,
    /// How often the kernel was asked to say when the rest has been sent.
    asked: u8,
    timeouts: Arc<Timeouts>,
    /// Dropped last: by then both connections are gone.
    #[expect(dead_code, reason = "held for its drop")]
    guard: Option<Box<dyn Any + Send>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

impl Side {
    fn reset(self) -> End {
        match self {
            Self::Client => End::ClientReset,
            Self::Upstream => End::UpstreamReset,
        }
    }
}

impl<Io: Stream, Up: Stream> Tunnel<Io, Up> {
    pub(super) fn new(
        client: Io,
        up: Flow,
        upstream: Up,
        guard: Option<Box<dyn Any + Send>>,
        timeouts: Arc<Timeouts>,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            upstream,
            up,
            down: Flow::default(),
            started: now,
            active: now,
            broken: None,
            asked: 0,
            timeouts,
            guard,
        }
    }

    /// Moves what can be moved. Ready once both directions have ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let before = self.progress();
        // A side that breaks leaves the other direction with something to do.
        loop {
            let broken = self.broken;
            self.poll_up(cx);
            self.poll_down(cx);
            if self.broken == broken {
                break;
            }
        }
        // One look at the clock for all that this wake-up moved.
        if self.progress() != before {
            self.active = Instant::now();
        }
        if !(self.up.has_ended() && self.down.has_ended()) {
            return Poll::Pending;
        }
        let Some(broken) = self.broken else {
            return Poll::Ready(End::Closed);
        };
        ready!(self.poll_sent(cx, broken));
        Poll::Ready(broken.reset())
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) {
        if self.up.has_ended() {
            return;
        }
        let fin = self.passes_fin(self.down.has_ended(), tcp(&self.upstream).is_some());
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        match self.up.poll(cx, client, upstream, fin) {
            Poll::Ready(Err(Broken::Source)) => self.broke(Side::Client),
            Poll::Ready(Err(Broken::Destination)) => self.broke(Side::Upstream),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) {
        if self.down.has_ended() {
            return;
        }
        let fin = self.passes_fin(self.up.has_ended(), tcp(&self.client).is_some());
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        match self.down.poll(cx, upstream, client, fin) {
            Poll::Ready(Err(Broken::Source)) => self.broke(Side::Upstream),
            Poll::Ready(Err(Broken::Destination)) => self.broke(Side::Client),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
    }

    /// Whether a source's end is to be passed on by a shutdown.
    ///
    /// Not by one if the source was reset, for the destination would take it
    /// for an orderly end. And a plain socket needs none if the other direction
    /// has ended: it is closed at once.
    fn passes_fin(&self, other_has_ended: bool, is_tcp: bool) -> bool {
        self.broken.is_none() && !(other_has_ended && is_tcp)
    }

    /// What goes to the broken side has nowhere to go. What comes from it still
    /// counts: a write may fail while bytes that came before the reset wait to
    /// be read.
    fn broke(&mut self, side: Side) {
        if self.broken.is_some() {
            // Both did.
            self.up.abandon();
            self.down.abandon();
            return;
        }
        self.broken = Some(side);
        self.active = Instant::now();
        match side {
            Side::Client => self.down.abandon(),
            Side::Upstream => self.up.abandon(),
        }
    }

    /// Ready once the kernel has sent what the other side than `broken` was
    /// written: a reset makes it throw away the rest.
    fn poll_sent(&mut self, cx: &mut Context<'_>, broken: Side) -> Poll<()> {
        let (stream, flow) = match broken {
            Side::Client => (tcp(&self.upstream), &self.up),
            Side::Upstream => (tcp(&self.client), &self.down),
        };
        let Some(stream) = stream.filter(|_| flow.bytes() > 0) else {
            return Poll::Ready(());
        };
        if flow.has_passed_fin() {
            // Such a socket always counts as writable. Let the second pass.
            return Poll::Pending;
        }
        if self.next_question() <= Instant::now() {
            self.asked = self.asked.saturating_add(1);
            if !sent::ask(stream) {
                return Poll::Ready(());
            }
        }
        // An error is the runtime's, which is shutting down.
        stream.poll_write_ready(cx).map(drop)
    }

    fn next_question(&self) -> Instant {
        self.active + sent::INTERVAL * u32::from(self.asked)
    }

    /// When the tunnel is to end if nothing moves, and why.
    pub(super) fn deadline(&self) -> Option<(Instant, End)> {
        let phase = match self.broken {
            Some(side) => Phase::Broken(side.reset()),
            None if self.up.has_ended() || self.down.has_ended() => Phase::HalfClosed,
            None => Phase::Open,
        };
        self.timeouts.deadline(phase, self.started, self.active)
    }

    /// When something is due in a tunnel that is to end at `deadline`.
    pub(super) fn next_look(&self, deadline: Instant) -> Instant {
        match self.asked {
            0 => deadline,
            _ => self.next_question().min(deadline),
        }
    }

    /// See [`Timeouts::no_later`].
    pub(super) fn no_later(&self, next: Instant, now: Instant) -> Instant {
        self.timeouts.no_later(next, now)
    }

    /// Ends it. Both connections close with this value; the one that did not
    /// break is reset then, if the other did.
    pub(super) fn finish(self, end: End) -> Transfer {
        let survivor = match self.broken {
            Some(Side::Client) => tcp(&self.upstream),
            Some(Side::Upstream) => tcp(&self.client),
            None => None,
        };
        if let Some(survivor) = survivor {
            // It fails for a socket that is broken too.
            let _ = survivor.set_zero_linger();
        }
        Transfer {
            up: self.up.bytes(),
            down: self.down.bytes(),
            duration: self.started.elapsed(),
            end,
        }
    }

    fn progress(&self) -> (u64, bool, bool) {
        let bytes = self.up.bytes() + self.down.bytes();
        (bytes, self.up.has_ended(), self.down.has_ended())
    }
}
