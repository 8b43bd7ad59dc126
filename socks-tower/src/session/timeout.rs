//! Timeouts that are not the fault of a process that slept.
//!
//! A process that is stopped, or whose machine is, finds its timers due when it
//! goes on, before it has been told of what came meanwhile. So a timer that fires
//! late is not believed: whatever waits in the sockets is read first.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};
use tower::timeout::error::Elapsed;

/// A timer that fires no later than this was not held up.
const ON_TIME: Duration = Duration::from_millis(5);

/// Time to be told of what waits, at least: the next turn of the driver.
const LEAST: Duration = Duration::from_millis(10);

/// And at most: thousands of sockets take many turns.
const MOST: Duration = Duration::from_secs(1);

/// Where an instant lies that is past the end of time: 30 years on.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The instant `time` after `start`, whatever `time` a user has set: the clock ends
/// before [`Duration::MAX`] does, and to add it would panic.
pub(crate) fn later(start: Instant, time: Duration) -> Instant {
    start.checked_add(time.min(NEVER)).unwrap_or(start)
}

/// When to look again, if a timer that was due at `deadline` and fires `now` is
/// not to be believed.
pub(crate) fn second_look(deadline: Instant, now: Instant) -> Option<Instant> {
    let late = now.saturating_duration_since(deadline);
    (late > ON_TIME).then(|| now + late.clamp(LEAST, MOST))
}

/// As Tokio's, but a timer that fires late is not believed at once.
pub(crate) fn timeout_at<F: Future>(deadline: Instant, future: F) -> TimeoutAt<F> {
    TimeoutAt {
        future,
        deadline: Deadline::at(Some(deadline)),
    }
}

/// As [`timeout_at`], counted from now.
pub(crate) fn timeout<F: Future>(timeout: Duration, future: F) -> TimeoutAt<F> {
    optional_timeout(Some(timeout), future)
}

/// As [`timeout`]; with none, the future has all the time in the world.
pub(crate) fn optional_timeout<F: Future>(timeout: Option<Duration>, future: F) -> TimeoutAt<F> {
    TimeoutAt {
        future,
        deadline: Deadline::at(timeout.map(|timeout| later(Instant::now(), timeout))),
    }
}

pin_project! {
    /// The future of [`timeout_at`].
    pub(crate) struct TimeoutAt<F> {
        #[pin]
        future: F,
        #[pin]
        deadline: Deadline,
    }
}

impl<F: Future> Future for TimeoutAt<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Whether or not the time is up.
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        this.deadline.poll_passed(cx).map(Err)
    }
}

pin_project! {
    /// When what waits has waited for long enough, if ever.
    pub(crate) struct Deadline {
        #[pin]
        timer: Timer,
        // Whom the timer wakes.
        wakes: Option<Waker>,
        looks_again: bool,
    }
}

pin_project! {
    // A timer is made for whoever has to wait.
    #[project = TimerProjection]
    enum Timer {
        Never,
        At { at: Instant },
        Set { #[pin] timer: Sleep },
    }
}

impl Deadline {
    pub(crate) fn at(deadline: Option<Instant>) -> Self {
        Self {
            timer: deadline.map_or(Timer::Never, |at| Timer::At { at }),
            wakes: None,
            looks_again: false,
        }
    }

    /// Once what it is for is not ready.
    #[inline]
    pub(crate) fn poll_passed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let mut this = self.project();
        if let TimerProjection::At { at } = this.timer.as_mut().project() {
            let timer = sleep_until(*at);
            this.timer.set(Timer::Set { timer });
        }
        let TimerProjection::Set { mut timer } = this.timer.project() else {
            return Poll::Pending;
        };
        // To ask the timer takes longer than most futures take for a step.
        let wakes_us = |waker: &Waker| waker.will_wake(cx.waker());
        if !timer.is_elapsed() && this.wakes.as_ref().is_some_and(wakes_us) {
            return Poll::Pending;
        }
        *this.wakes = Some(cx.waker().clone());
        // A future that has used its turn up does not put its own end off.
        ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
        if !*this.looks_again
            && let Some(at) = second_look(timer.deadline(), Instant::now())
        {
            *this.looks_again = true;
            timer.as_mut().reset(at);
            ready!(pin!(unconstrained(timer)).poll(cx));
        }
        Poll::Ready(Elapsed::new())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{
        sync::oneshot,
        time::{advance, sleep},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_time_is_too_long_for_the_clock() {
        let now = Instant::now();
        assert_eq!(later(now, SECOND), now + SECOND);
        let end = later(later(now, Duration::MAX), Duration::MAX);
        assert_eq!(end, now + 2 * NEVER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_fires_on_time_is_believed() {
        let began = Instant::now();
        assert!(timeout(SECOND, pending::<()>()).await.is_err());
        assert_eq!(began.elapsed(), SECOND);
        assert!(timeout_at(began, async {}).await.is_ok());
    }

    /// The clock leaps as it does while a process is stopped; what came meanwhile
    /// is told of a moment later.
    #[tokio::test(start_paused = true)]
    async fn what_came_while_the_process_slept_comes_before_the_timeout() {
        for (slept, told_after) in [(2 * SECOND, SECOND / 2), (SECOND + SECOND / 50, LEAST / 2)] {
            let (tell, told) = oneshot::channel();
            let waits = tokio::spawn(timeout(SECOND, told));
            tokio::task::yield_now().await;
            advance(slept).await;
            sleep(told_after).await;
            tell.send("in time").unwrap();
            assert_eq!(waits.await.unwrap().unwrap(), Ok("in time"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_timer_is_believed_when_nothing_has_come_by_the_second_look() {
        let began = Instant::now();
        let waits = tokio::spawn(timeout(SECOND, pending::<()>()));
        tokio::task::yield_now().await;
        advance(100 * SECOND).await;
        assert!(waits.await.unwrap().is_err());
        assert_eq!(began.elapsed(), 100 * SECOND + MOST);
    }
}
