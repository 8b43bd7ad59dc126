//! Two streams, joined.

use std::{
    any::Any,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, time::Instant};

use super::{
    flow::{Broken, Flow},
    lane::{Lane, Lanes},
    sent,
    timeouts::{Phase, Timeouts},
};
use crate::session::{End, Stream, Transfer, policy::Direction, second_look, tcp, tcp_mut};

/// How soon a tunnel looks for what nobody tells of: a reset behind what it holds, or
/// bytes behind an urgent mark.
///
/// It is later than the pulse of a [`Server`](crate::Server) that new clients come to,
/// for a timer that comes first wakes Tokio's driver.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Bytes each way after which it is another's turn: a fraction of a millisecond's worth.
const BURST: u64 = 1024 * 1024;

/// The same where nobody waits for a small answer: as many as cost least.
const BURST_AMONG_BULK: u64 = 4 * 1024 * 1024;

/// What brings so many bytes in one wake-up keeps others waiting.
const BULK: u64 = 64 * 1024;

/// To move a tunnel costs little beside so many bytes that it has carried.
const WORTH_MOVING: u64 = 1024 * 1024;

/// Both streams, and all that is known of the bytes between them.
pub(super) struct Tunnel<Io, Up> {
    client: Io,
    upstream: Up,
    up: Flow,
    down: Flow,
    started: Instant,
    /// When something last moved, or a side broke: nanoseconds after the start.
    active: u64,
    /// Its silence was not believed, once.
    doubted: bool,
    broken: Option<Side>,
    /// What to do if it is cut. None if its end is one that both sides may take
    /// for an orderly one.
    cut: Option<fn(&Self)>,
    /// How often the kernel was asked to say when the rest has been sent.
    asked: u8,
    is_bulk: bool,
    /// It is on a thread for such.
    is_among_bulk: bool,
    timeouts: Arc<Timeouts>,
    /// None without a policy.
    lanes: Option<Box<Lanes>>,
    /// Dropped last: by then both connections are gone.
    #[expect(dead_code, reason = "held for its drop")]
    guard: Option<Box<Guard>>,
}

/// Whatever it is. In a box of its own, for few tunnels have one.
pub(super) type Guard = Box<dyn Any + Send>;

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

/// Asks the system only about a socket of which Tokio has heard of an error.
fn is_reset(stream: Option<&TcpStream>) -> bool {
    let Some(stream) = stream else { return false };
    let mut cx = Context::from_waker(Waker::noop());
    let heard = pin!(stream.ready(Interest::ERROR)).poll(&mut cx);
    matches!(heard, Poll::Ready(Ok(ready)) if ready.is_error())
        && matches!(stream.take_error(), Ok(Some(_)))
}

impl<Io: Stream, Up: Stream> Tunnel<Io, Up> {
    pub(super) fn new(
        client: Io,
        upstream: Up,
        (up, down): (Flow, Flow),
        guard: Option<Box<Guard>>,
        timeouts: Arc<Timeouts>,
        lanes: Option<Box<Lanes>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            upstream,
            up,
            down,
            started: now,
            active: 0,
            doubted: false,
            broken: None,
            cut: Some(Self::reset),
            asked: 0,
            is_bulk: false,
            is_among_bulk: false,
            timeouts,
            lanes,
            guard,
        }
    }

    /// Moves what can be moved. Ready once both directions have ended, or the
    /// session's policy ends them.
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
        let after = self.progress();
        if after != before {
            self.is_bulk = after.bytes() - before.bytes() >= BULK;
            self.set_active();
        }
        if let Some(lanes) = &self.lanes {
            lanes.record(Direction::Up, after.up - before.up);
            lanes.record(Direction::Down, after.down - before.down);
            if let Some(end) = lanes.end() {
                return Poll::Ready(end);
            }
            if lanes.is_done() {
                self.lanes = None;
            }
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

    fn set_active(&mut self) {
        let since = self.started.elapsed().as_nanos();
        // The end of 584 years.
        self.active = u64::try_from(since).unwrap_or(u64::MAX);
        self.doubted = false;
    }

    fn last_active(&self) -> Instant {
        self.started + Duration::from_nanos(self.active)
    }

    /// Whether it is better off among its like, and can go there.
    pub(super) fn is_bulk(&self) -> bool {
        self.is_bulk
            && self.progress().bytes() >= WORTH_MOVING
            && self.broken.is_none()
            && tcp(&self.client).is_some()
            && tcp(&self.upstream).is_some()
    }

    /// Has the runtime around us, which is one for bulk, tell of its sockets, and no
    /// other.
    pub(super) fn settle(&mut self) {
        self.is_among_bulk = true;
        let sockets = [tcp_mut(&mut self.client), tcp_mut(&mut self.upstream)];
        for socket in sockets.into_iter().flatten() {
            let same = SockRef::from(&*socket).try_clone();
            // Without a descriptor to spare, the other one goes on telling.
            if let Ok(same) = same.and_then(|same| TcpStream::from_std(same.into())) {
                *socket = same;
            }
        }
    }

    fn burst(&self) -> u64 {
        if self.is_among_bulk {
            BURST_AMONG_BULK
        } else {
            BURST
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) {
        if self.up.has_ended() {
            return;
        }
        let fin = self.passes_fin(self.down.has_ended(), tcp(&self.upstream).is_some());
        let burst = self.burst();
        let mut lanes = self.lanes.as_deref_mut();
        if lanes.as_mut().is_some_and(|lanes| !lanes.admit_early()) {
            return;
        }
        let lane = Lane::new(lanes, Direction::Up);
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        match self.up.poll(cx, client, upstream, fin, burst, lane) {
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
        let burst = self.burst();
        let lane = Lane::new(self.lanes.as_deref_mut(), Direction::Down);
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        match self.down.poll(cx, upstream, client, fin, burst, lane) {
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
        self.set_active();
        match side {
            Side::Client => self.down.abandon(),
            Side::Upstream => self.up.abandon(),
        }
    }

    /// Whether both sides are read from. What is due then comes no earlier than
    /// it was when the timer was set, see [`Timeouts::no_later`].
    pub(super) fn is_flowing(&self) -> bool {
        self.broken.is_none() && !self.is_stalled()
    }

    /// Whether there is a side that nothing is read from: what was read before is
    /// not taken, or the policy holds it back.
    pub(super) fn is_stalled(&self) -> bool {
        self.broken.is_none()
            && (self.up.holds_bytes()
                || self.down.holds_bytes()
                || self.held_back().next().is_some())
    }

    /// When to look whether a source has more than it has told of, if it may.
    pub(super) fn unsure_until(&self) -> Option<Instant> {
        let is_unsure = self.up.is_unsure() || self.down.is_unsure();
        is_unsure.then(|| self.last_active() + LOOK)
    }

    /// Looks for what nobody tells of. True if the tunnel is to be polled for it.
    pub(super) fn look(&mut self) -> bool {
        let is_unsure = self.unsure_until().is_some();
        self.up.look();
        self.down.look();
        self.look_for_resets() || is_unsure
    }

    /// Finds a reset that no read and no write would, in a tunnel that is
    /// [stalled](Self::is_stalled). Tokio knows of it by then, but tells only
    /// somebody who waits for it. True if there is one.
    fn look_for_resets(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }
        if is_reset(tcp(&self.client)) {
            self.broke(Side::Client);
        }
        if is_reset(tcp(&self.upstream)) {
            self.broke(Side::Upstream);
        }
        self.broken.is_some()
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
        self.last_active() + sent::INTERVAL * u32::from(self.asked)
    }

    /// When the tunnel is to end if nothing moves, and why.
    pub(super) fn deadline(&self) -> Option<(Instant, End)> {
        let phase = match self.broken {
            Some(side) => Phase::Broken(side.reset()),
            None if self.up.has_ended() || self.down.has_ended() => Phase::HalfClosed,
            None => Phase::Open,
        };
        let held = match phase {
            Phase::Open | Phase::HalfClosed => self.held_back().max(),
            // Nobody waits for what is left.
            Phase::Broken(_) => None,
        };
        self.timeouts
            .deadline(phase, self.started, self.last_active(), held)
    }

    /// When to look again, if a silence that is up at `at` is not to be believed
    /// `now`: the process may have slept, and bytes may wait. A lifetime is not
    /// about them.
    pub(super) fn doubt(&mut self, at: Instant, end: End, now: Instant) -> Option<Instant> {
        if self.doubted || end == End::LifetimeExceeded {
            return None;
        }
        let again = second_look(at, now);
        self.doubted = again.is_some();
        again
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// When something is due in a tunnel that is to end at `deadline`.
    pub(super) fn next_look(&self, deadline: Option<Instant>) -> Option<Instant> {
        let question = (self.asked > 0).then(|| self.next_question());
        let due = deadline.into_iter().chain(question);
        due.chain(self.held_back()).min()
    }

    /// Until when the policy holds directions back that have not ended.
    fn held_back(&self) -> impl Iterator<Item = Instant> {
        let flows = [(&self.up, Direction::Up), (&self.down, Direction::Down)];
        let lanes = self.lanes.as_deref();
        flows.into_iter().filter_map(move |(flow, direction)| {
            let lanes = lanes.filter(|_| !flow.has_ended())?;
            lanes.until(direction)
        })
    }

    /// See [`Timeouts::no_later`].
    pub(super) fn no_later(&self, next: Instant, now: Instant) -> Instant {
        self.timeouts.no_later(next, now)
    }

    /// Ends it. Both connections close with this value.
    pub(super) fn finish(mut self, end: End) -> Transfer {
        let in_order = match end {
            End::Closed => true,
            // Nobody is amid anything.
            End::IdleTimeout | End::HalfClosedTimeout => {
                !(self.up.holds_bytes() || self.down.holds_bytes())
            }
            _ => false,
        };
        if in_order {
            self.cut = None;
        }
        Transfer {
            up: self.up.bytes(),
            down: self.down.bytes(),
            duration: self.started.elapsed(),
            end,
            datagrams: None,
        }
    }

    /// Has the sides that did not break reset, as soon as they are closed.
    fn reset(&self) {
        let client = tcp(&self.client).filter(|_| self.broken != Some(Side::Client));
        let upstream = tcp(&self.upstream).filter(|_| self.broken != Some(Side::Upstream));
        for survivor in client.into_iter().chain(upstream) {
            // It fails for a socket that is broken too.
            let _ = survivor.set_zero_linger();
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            up: self.up.bytes(),
            down: self.down.bytes(),
            ended: [self.up.has_ended(), self.down.has_ended()],
        }
    }
}

/// A side that did not break is reset if the tunnel is cut, whoever drops it, or
/// half of what it was to get would look like the whole.
impl<Io, Up> Drop for Tunnel<Io, Up> {
    fn drop(&mut self) {
        if let Some(reset) = self.cut {
            reset(self);
        }
    }
}

/// How far a tunnel has come.
#[derive(PartialEq, Eq)]
struct Progress {
    up: u64,
    down: u64,
    ended: [bool; 2],
}

impl Progress {
    fn bytes(&self) -> u64 {
        self.up + self.down
    }
}
