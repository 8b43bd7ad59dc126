//! Puts the fragments of a datagram together (RFC 1928 section 7).

use std::time::Duration;

use socks_core::v5::udp::Fragment;
use tokio::time::Instant;

use super::MAX_DATAGRAM;
use crate::session::later;

/// The queue of one client: at most one datagram is under way.
#[derive(Debug)]
pub(super) struct Reassembly {
    timeout: Duration,
    queue: Option<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// Where its fragments go, all of them.
    key: Box<[u8]>,
    data: Vec<u8>,
    /// The last position that has come. None before it is missing: a fragment
    /// behind a gap could only be completed by a lower one, which ends it.
    highest: u8,
    deadline: Instant,
    fragments: u64,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It waits for more.
    Kept,
    /// It was the last: the whole data.
    Whole(Vec<u8>),
    /// It fits nowhere.
    Refused,
}

impl Reassembly {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            queue: None,
        }
    }

    /// Gives up what is under way; says how many fragments that were.
    ///
    /// For a datagram that stands alone, too: its FRAG is lower than any.
    pub(super) fn abandon(&mut self) -> u64 {
        self.queue.take().map_or(0, |queue| queue.fragments)
    }

    /// Takes a fragment, and says how many others were given up for it.
    pub(super) fn take(
        &mut self,
        fragment: Fragment,
        key: &[u8],
        data: &[u8],
        now: Instant,
    ) -> (Outcome, u64) {
        let position = fragment.position();
        let follows = |queue: &Queue| {
            now < queue.deadline && *queue.key == *key && position == queue.highest + 1
        };
        let mut abandoned = 0;
        let mut queue = match self.queue.take() {
            Some(queue) if follows(&queue) => queue,
            // It came twice: no reason to give up. But a first one may begin
            // another datagram, which must not be mixed with this.
            Some(queue) if position > 1 && position == queue.highest => {
                self.queue = Some(queue);
                return (Outcome::Refused, 0);
            }
            other => {
                abandoned = other.map_or(0, |queue| queue.fragments);
                if position != 1 {
                    return (Outcome::Refused, abandoned);
                }
                Queue {
                    key: key.into(),
                    data: Vec::new(),
                    highest: 0,
                    deadline: later(now, self.timeout),
                    fragments: 0,
                }
            }
        };
        if queue.data.len() + data.len() > MAX_DATAGRAM {
            return (Outcome::Refused, abandoned + queue.fragments);
        }
        queue.data.extend_from_slice(data);
        if fragment.is_last() {
            return (Outcome::Whole(queue.data), abandoned);
        }
        queue.highest = position;
        queue.fragments += 1;
        self.queue = Some(queue);
        (Outcome::Kept, abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"\x01\x7f\0\0\x01\0\x35";
    const LAST: u8 = 0x80;

    /// Feeds fragments in their order; gives what came of each.
    fn run(fragments: &[(u8, &str)]) -> Vec<(Outcome, u64)> {
        let mut queue = Reassembly::new(Duration::from_secs(5));
        let now = Instant::now();
        let take = |&(fragment, data): &(u8, &str)| {
            queue.take(Fragment(fragment), KEY, data.as_bytes(), now)
        };
        fragments.iter().map(take).collect()
    }

    fn whole(data: &str) -> (Outcome, u64) {
        (Outcome::Whole(data.into()), 0)
    }

    const KEPT: (Outcome, u64) = (Outcome::Kept, 0);

    #[test]
    fn fragments_in_order_make_a_datagram() {
        let came = run(&[(1, "a"), (2, ""), (3 | LAST, "c")]);
        assert_eq!(came, [KEPT, KEPT, whole("ac")]);
        assert_eq!(run(&[(1 | LAST, "alone")]), [whole("alone")]);
    }

    #[test]
    fn fragments_may_take_all_the_time_in_the_world() {
        let mut queue = Reassembly::new(Duration::MAX);
        let took = queue.take(Fragment(1), KEY, b"a", Instant::now());
        assert_eq!(took, KEPT);
    }

    #[test]
    fn a_lower_fragment_begins_anew() {
        let came = run(&[(1, "a"), (2, "b"), (1, "x"), (2 | LAST, "y")]);
        assert_eq!(came, [KEPT, KEPT, (Outcome::Kept, 2), whole("xy")]);
        let came = run(&[(1, "a"), (2, "b"), (3, "c"), (2 | LAST, "y")]);
        assert_eq!(came[3], (Outcome::Refused, 3));
    }

    #[test]
    fn a_gap_ends_it() {
        let came = run(&[(1, "a"), (3 | LAST, "c"), (2, "b")]);
        assert_eq!(came, [KEPT, (Outcome::Refused, 1), (Outcome::Refused, 0)]);
        assert_eq!(run(&[(2, "b")]), [(Outcome::Refused, 0)]);
        assert_eq!(run(&[(LAST, "b")]), [(Outcome::Refused, 0)]);
    }

    #[test]
    fn a_fragment_that_comes_twice_counts_once() {
        let came = run(&[(1, "a"), (2, "b"), (2, "b"), (3 | LAST, "c")]);
        assert_eq!(came[2..], [(Outcome::Refused, 0), whole("abc")]);
    }

    #[test]
    fn datagrams_are_not_mixed() {
        // The rest of the first was lost.
        let came = run(&[(1, "a"), (1, "x"), (2 | LAST, "y")]);
        assert_eq!(came, [KEPT, (Outcome::Kept, 1), whole("xy")]);
    }

    #[test]
    fn fragments_of_another_destination_end_it() {
        let mut queue = Reassembly::new(Duration::from_secs(5));
        let now = Instant::now();
        assert_eq!(queue.take(Fragment(1), KEY, b"a", now), KEPT);
        let (other, abandoned) = queue.take(Fragment(2 | LAST), b"\x01other", b"b", now);
        assert_eq!((other, abandoned), (Outcome::Refused, 1));
    }

    #[test]
    fn time_ends_it_when_it_was_told_to() {
        for (waited, expected) in [(4999, whole("ab")), (5000, (Outcome::Refused, 1))] {
            let mut queue = Reassembly::new(Duration::from_secs(5));
            let now = Instant::now();
            assert_eq!(queue.take(Fragment(1), KEY, b"a", now), KEPT);
            let later = now + Duration::from_millis(waited);
            assert_eq!(queue.take(Fragment(2 | LAST), KEY, b"b", later), expected);
        }
    }

    #[test]
    fn it_holds_no_more_than_a_datagram() {
        let mut queue = Reassembly::new(Duration::from_secs(5));
        let now = Instant::now();
        let most = vec![0; MAX_DATAGRAM];
        assert_eq!(queue.take(Fragment(1), KEY, &most, now), KEPT);
        assert_eq!(
            queue.take(Fragment(2), KEY, b"b", now),
            (Outcome::Refused, 1)
        );
        assert_eq!(queue.abandon(), 0);
    }

    #[test]
    fn a_datagram_that_stands_alone_ends_it() {
        let mut queue = Reassembly::new(Duration::from_secs(5));
        let now = Instant::now();
        assert_eq!(queue.take(Fragment(1), KEY, b"a", now), KEPT);
        assert_eq!(queue.abandon(), 1);
        let late = queue.take(Fragment(2 | LAST), KEY, b"b", now);
        assert_eq!(late, (Outcome::Refused, 0));
    }
}
