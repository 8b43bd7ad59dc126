//! A word between those who move much on a thread and whoever runs that thread.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

thread_local! {
    static TURN: Turn = const { Turn::new() };
}

/// What a thread has moved much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bulk {
    /// By a large splice.
    Bytes,
    /// Several by one call.
    #[cfg(target_os = "linux")]
    Datagrams,
}

/// What a timer needs to fire, and no less: some fifty microseconds on Linux,
/// where those of a thread may be that late (its timer slack).
const MOMENT: Duration = Duration::from_micros(1);

/// A wait that takes longer than this was worth it.
const BRIEF: Duration = Duration::from_micros(100);

/// More than this long to give way for nobody.
const AT_ONCE: Duration = Duration::from_micros(5);

/// For so long behind a small message, another may come.
const TALK: Duration = Duration::from_millis(1);

/// Moments in a row, however much was moved.
const MOST: u8 = 8;

/// What happened on a thread since it last waited, and how that wait was.
struct Turn {
    /// For how many moments more may be left to gather; none if little was moved.
    moments: Cell<u8>,
    /// Of a wait behind bulk.
    waiting_since: Cell<Option<Instant>>,
    /// The last such wait was over at once.
    was_brief: Cell<bool>,
    /// A small message was moved since.
    talked: Cell<bool>,
    /// When that was last known.
    talked_at: Cell<Option<Instant>>,
}

/// Much has been moved on this thread.
pub(crate) fn moved(what: Bulk) {
    // A thread that is being torn down has no more to wait for.
    let _ = TURN.try_with(|turn| turn.moved(what));
}

/// A message has been moved whose sender may wait for an answer.
pub(crate) fn talked() {
    let _ = TURN.try_with(|turn| turn.talked.set(true));
}

/// Called before a thread waits for more to do. If it has moved much, whoever
/// else can run on its core goes first, so that there is more to be moved when
/// it looks: threads that are faster than those they serve would else wake for
/// each piece, and waking is what costs. If nobody can run, the last wait was
/// hardly one, and nobody is talking, it lies down for some moments.
///
/// So a thread is late only while it is busy with bulk and little else, by half a
/// millisecond, and by what others make of its core meanwhile.
pub(crate) fn before_waiting() {
    let _ = TURN.try_with(Turn::before_waiting);
}

/// Called once a thread has waited.
pub(crate) fn after_waiting() {
    let _ = TURN.try_with(Turn::after_waiting);
}

impl Turn {
    const fn new() -> Self {
        Self {
            moments: Cell::new(0),
            waiting_since: Cell::new(None),
            was_brief: Cell::new(false),
            talked: Cell::new(false),
            talked_at: Cell::new(None),
        }
    }

    fn moved(&self, what: Bulk) {
        let moments = self.moments.get();
        self.moments.set(match what {
            // From so many streams, or from one that is so fast.
            Bulk::Bytes => moments.saturating_add(1).min(MOST),
            // Who sends them waits for answers.
            #[cfg(target_os = "linux")]
            Bulk::Datagrams => moments.max(1),
        });
    }

    fn before_waiting(&self) {
        let moments = self.moments.take();
        if moments == 0 {
            return;
        }
        let mut now = Instant::now();
        if self.talked.take() {
            self.talked_at.set(Some(now));
        }
        let may_sleep = self.was_brief.get() && self.is_quiet(now);
        for _ in 0..moments {
            let before = now;
            thread::yield_now();
            now = Instant::now();
            if !may_sleep || now - before > AT_ONCE {
                break;
            }
            thread::sleep(MOMENT);
            now = Instant::now();
        }
        self.waiting_since.set(Some(now));
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.talked_at.get().is_none_or(|at| now - at > TALK)
    }

    fn after_waiting(&self) {
        if let Some(since) = self.waiting_since.take() {
            self.was_brief.set(since.elapsed() < BRIEF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_behind_bulk_is_looked_at() {
        let turn = Turn::new();
        turn.before_waiting();
        assert_eq!(turn.waiting_since.get(), None);
        turn.after_waiting();
        assert!(!turn.was_brief.get());

        turn.moments.set(2);
        turn.before_waiting();
        assert_eq!(turn.moments.get(), 0);
        assert!(turn.waiting_since.get().is_some());
        turn.after_waiting();
        assert_eq!(turn.waiting_since.get(), None);
    }

    #[test]
    fn who_talks_is_not_kept_waiting_for_bulk() {
        let turn = Turn::new();
        turn.talked.set(true);
        turn.moments.set(1);
        turn.before_waiting();
        assert!(!turn.talked.get());
        let at = turn.talked_at.get().unwrap();
        assert!(!turn.is_quiet(at));
        assert!(turn.is_quiet(at + 2 * TALK));
    }

    #[test]
    fn a_wait_that_was_worth_it_is_not_put_off() {
        let turn = Turn::new();
        turn.was_brief.set(true);
        turn.waiting_since
            .set(Instant::now().checked_sub(2 * BRIEF));
        turn.after_waiting();
        assert!(!turn.was_brief.get());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_more_was_moved_the_longer_more_may_gather_up_to_a_bound() {
        let turn = Turn::new();
        for _ in 0..3 {
            turn.moved(Bulk::Datagrams);
        }
        assert_eq!(turn.moments.get(), 1);
        turn.moved(Bulk::Bytes);
        assert_eq!(turn.moments.get(), 2);
        for _ in 0..1000 {
            turn.moved(Bulk::Bytes);
        }
        assert_eq!(turn.moments.get(), MOST);
    }
}
