use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use socket2::SockRef;
use sync_wrapper::SyncWrapper;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    flow::Flow,
    lane::Lanes,
    moved::Moved,
    timeouts::Timeouts,
    tunnel::{LOOK, Tunnel},
};
use crate::session::{BulkThreads, Connected, End, Error, Stream, Transfer, tcp};

pin_project! {
    /// The future of [`Relay`](super::Relay): all that there is of an idle tunnel.
    ///
    /// It never fails: whatever ends a tunnel is in its [`Transfer`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RelayFuture<Io, Up> {
        tunnel: Place<Io, Up>,
        // In place: a box would only add to it.
        #[pin]
        sleep: Option<Sleep>,
    }
}

enum Place<Io, Up> {
    Here(Tunnel<Io, Up>),
    Elsewhere(Moved<Io, Up>),
    /// It is done, and both connections are gone.
    Over,
}

impl<Io: Stream, Up: Stream> Place<Io, Up> {
    /// One that carries bulk goes to a thread for such, if there is one.
    fn choose(&mut self) {
        if let Self::Here(tunnel) = self
            && tunnel.is_bulk()
            && let Some(threads) = BulkThreads::offered()
            && let Some(runtime) = threads.idlest()
            && let Self::Here(tunnel) = mem::replace(self, Self::Over)
        {
            *self = Self::Elsewhere(Moved::to(runtime, tunnel));
        }
    }
}

impl<Io: Stream, Up: Stream> RelayFuture<Io, Up> {
    pub(super) fn new(connected: Connected<Io, Up>, timeouts: Arc<Timeouts>, splice: bool) -> Self {
        let Connected {
            client,
            upstream,
            request,
        } = connected;
        // The client's has it from its listener.
        if let Some(tcp) = tcp(&upstream.io) {
            // One that fails is broken, which will be seen.
            let _ = SockRef::from(tcp).set_out_of_band_inline(true);
        }
        let lanes = Lanes::new(request.session.policy, &client.early);
        let mut up = Flow::starting_with(client.early, client.eof, splice);
        if lanes.as_ref().is_some_and(|lanes| lanes.holds_early()) {
            up.hold_back();
        }
        let guard = upstream.guard.map(SyncWrapper::into_inner).map(Box::new);
        let flows = (up, Flow::new(splice));
        let tunnel = Tunnel::new(client.io, upstream.io, flows, guard, timeouts, lanes);
        Self {
            tunnel: Place::Here(tunnel),
            sleep: None,
        }
    }
}

impl<Io: Stream, Up: Stream> Future for RelayFuture<Io, Up> {
    type Output = Result<Transfer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.tunnel.choose();
        let end = match this.tunnel {
            Place::Here(tunnel) => ready!(poll_end(tunnel, this.sleep.as_mut(), cx)),
            Place::Elsewhere(moved) => {
                this.sleep.set(None);
                let transfer = ready!(moved.poll(cx));
                *this.tunnel = Place::Over;
                return Poll::Ready(Ok(transfer));
            }
            Place::Over => return Poll::Pending,
        };
        this.sleep.set(None);
        match mem::replace(this.tunnel, Place::Over) {
            Place::Here(tunnel) => Poll::Ready(Ok(tunnel.finish(end))),
            Place::Elsewhere(_) | Place::Over => Poll::Pending,
        }
    }
}

/// Ready when nothing more is to be carried.
pub(super) fn poll_end<Io: Stream, Up: Stream>(
    tunnel: &mut Tunnel<Io, Up>,
    mut sleep: Pin<&mut Option<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    loop {
        if let Poll::Ready(end) = tunnel.poll(cx) {
            return Poll::Ready(end);
        }
        if let Some(end) = ready!(poll_clock(tunnel, sleep.as_mut(), cx)) {
            return Poll::Ready(end);
        }
    }
}

/// Ready when the timer fires: with an end if the tunnel's time is up, else to
/// have another look at the tunnel.
///
/// The timer is not set anew for every byte: when it fires, the tunnel knows
/// how much time it has gained since. It is brought forward, to an instant that
/// comes no later than [`LOOK`], if there is something to look for.
fn poll_clock<Io: Stream, Up: Stream>(
    tunnel: &mut Tunnel<Io, Up>,
    mut sleep: Pin<&mut Option<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Option<End>> {
    // While bytes move, what is due is put off, and never comes earlier.
    if tunnel.is_flowing()
        && let Some(timer) = sleep.as_mut().as_pin_mut()
        && tunnel
            .unsure_until()
            .is_none_or(|at| timer.deadline() <= at)
        && timer.poll(cx).is_pending()
    {
        return Poll::Pending;
    }
    let timer = sleep.as_ref().as_pin_ref();
    let looks = timer.is_some_and(|timer| timer.is_elapsed()) && tunnel.look();
    let deadline = tunnel.deadline();
    let due = tunnel.next_look(deadline.map(|(at, _)| at));
    let stalled = tunnel.is_stalled().then(|| Instant::now() + LOOK);
    // Whatever comes first is to be looked behind.
    let first = sleep.is_none().then(|| Instant::now() + LOOK);
    let next = due.into_iter().chain(tunnel.unsure_until());
    let Some(next) = next.chain(stalled).chain(first).min() else {
        sleep.set(None);
        return Poll::Pending;
    };
    if sleep.is_none() {
        sleep.set(Some(sleep_until(next)));
    }
    let Some(mut timer) = sleep.as_pin_mut() else {
        return Poll::Pending;
    };
    if timer.is_elapsed() {
        timer.as_mut().reset(tunnel.no_later(next, Instant::now()));
        if looks {
            return Poll::Ready(None);
        }
    } else if next < timer.deadline() && !tunnel.is_doubted() {
        timer.as_mut().reset(next);
    }
    ready!(timer.as_mut().poll(cx));
    let now = Instant::now();
    let Some((at, end)) = deadline.filter(|&(at, _)| at <= now) else {
        return Poll::Ready(None);
    };
    let Some(again) = tunnel.doubt(at, end, now) else {
        return Poll::Ready(Some(end));
    };
    timer.as_mut().reset(again);
    timer.poll(cx).map(|()| None)
}

impl<Io, Up> fmt::Debug for RelayFuture<Io, Up> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayFuture").finish_non_exhaustive()
    }
}
