use std::fmt;

use super::Direction;

/// Looks at the first bytes of a tunnel, and may end its session.
///
/// A relay shows it what comes, as it comes, before the other side is given any
/// of it. Once a direction has been shown as far as the tap wants, nobody looks
/// at it any more, and bulk goes by `splice(2)` as if there had never been a tap;
/// when that is so of both, the tap is dropped. It is at the session's end at the
/// latest.
///
/// [`TapLayer`](crate::middleware::tap) gives each session one (feature `tap`),
/// and what is there helps to gather bytes and to read them.
///
/// UDP's datagrams are not shown: a tap in the policy of an association sees
/// nothing, and is dropped with it.
///
/// ```
/// use socks_tower::{Direction, Look, Tap};
///
/// /// Lets SSH through, whose both sides begin with their version (RFC 4253
/// /// section 4.2), and nothing else.
/// struct SshAlone;
///
/// impl Tap for SshAlone {
///     fn wants(&self, _: Direction) -> usize {
///         1
///     }
///
///     fn look(&mut self, _: Direction, bytes: &[u8]) -> Look {
///         if bytes == b"S" { Look::Enough } else { Look::End }
///     }
/// }
/// ```
pub trait Tap: Send + 'static {
    /// How many bytes it wants to be shown of a direction, at most. It is asked
    /// once, when the relay begins.
    fn wants(&self, direction: Direction) -> usize;

    /// Is shown `bytes`, which are not empty, and follow those that it was shown
    /// of `direction` before. What the client sent before it had its reply comes
    /// first.
    ///
    /// How they are cut is chance: a byte at a time, or all at once. It is called
    /// in the task that carries them, so it must be quick and must not block.
    fn look(&mut self, direction: Direction, bytes: &[u8]) -> Look;
}

/// What a [`Tap`] has to say of what it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// Show me what follows.
    More,
    /// Show me what follows, and let nothing of this direction pass before I have
    /// said something else. If the direction ends first, it passes; if the tap has
    /// been shown all that it [wants](Tap::wants), the session ends.
    Hold,
    /// Nothing more of this direction.
    Enough,
    /// The session ends, with [`End::EndedByTap`](crate::End::EndedByTap): what was
    /// just shown goes nowhere, and both sides are reset.
    End,
}

/// The taps of a session, for the relay that carries it: see
/// [`Policy::take_taps`](super::Policy::take_taps).
#[derive(Default)]
pub struct Taps(Vec<Tapping>);

struct Tapping {
    tap: Box<dyn Tap>,
    /// Bytes that it may yet be shown.
    up: usize,
    down: usize,
}

impl Taps {
    pub(super) fn new(taps: impl Iterator<Item = Box<dyn Tap>>) -> Self {
        let tapping = |tap: Box<dyn Tap>| Tapping {
            up: tap.wants(Direction::Up),
            down: tap.wants(Direction::Down),
            tap,
        };
        let mut taps = Self(taps.map(tapping).collect());
        taps.drop_satisfied();
        taps
    }

    /// Whether there is none, or none left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one wants to be shown more of `direction`.
    #[must_use]
    pub fn want(&self, direction: Direction) -> bool {
        self.0.iter().any(|tapping| match direction {
            Direction::Up => tapping.up > 0,
            Direction::Down => tapping.down > 0,
        })
    }

    /// Shows `bytes` to each that wants them. None of them must go on if one says
    /// [`Look::End`], nor before the next are shown if one says [`Look::Hold`]; it is
    /// [`Look::More`] for as long as one [wants](Self::want) more.
    #[must_use = "a tap may have ended the session"]
    pub fn show(&mut self, direction: Direction, bytes: &[u8]) -> Look {
        let mut holds = false;
        for tapping in &mut self.0 {
            match tapping.show(direction, bytes) {
                Look::End => return Look::End,
                Look::Hold => holds = true,
                Look::More | Look::Enough => {}
            }
        }
        self.drop_satisfied();
        match self.want(direction) {
            true if holds => Look::Hold,
            true => Look::More,
            false => Look::Enough,
        }
    }

    fn drop_satisfied(&mut self) {
        self.0.retain(|tapping| tapping.up > 0 || tapping.down > 0);
    }
}

impl Tapping {
    fn left(&mut self, direction: Direction) -> &mut usize {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    fn show(&mut self, direction: Direction, bytes: &[u8]) -> Look {
        let left = *self.left(direction);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        if bytes.is_empty() {
            return Look::Enough;
        }
        let look = self.tap.look(direction, bytes);
        let left = match look {
            Look::More | Look::Hold => left - bytes.len(),
            Look::Enough | Look::End => 0,
        };
        *self.left(direction) = left;
        match look {
            // It has not said that it may pass.
            Look::Hold if left == 0 => Look::End,
            look => look,
        }
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taps").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::session::policy::Policy;

    /// Wants so many bytes each way, up to a dot; an exclamation mark ends it.
    struct Notes {
        wants: [usize; 2],
        seen: Arc<Mutex<Vec<(Direction, String)>>>,
    }

    impl Tap for Notes {
        fn wants(&self, direction: Direction) -> usize {
            self.wants[direction as usize]
        }

        fn look(&mut self, direction: Direction, bytes: &[u8]) -> Look {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let look = match text.as_bytes() {
                [.., b'.'] => Look::Enough,
                [.., b'!'] => Look::End,
                _ => Look::More,
            };
            self.seen.lock().unwrap().push((direction, text));
            look
        }
    }

    fn taps(wants: &[[usize; 2]]) -> (Taps, Vec<Arc<Mutex<Vec<(Direction, String)>>>>) {
        let mut policy = Policy::new();
        let mut all = Vec::new();
        for &wants in wants {
            let seen = Arc::default();
            all.push(Arc::clone(&seen));
            policy.add_tap(Notes { wants, seen });
        }
        (policy.take_taps(), all)
    }

    #[test]
    fn each_is_shown_as_much_as_it_wants_and_dropped_then() {
        let (mut taps, seen) = taps(&[[4, 0], [6, 3]]);
        assert_eq!(taps.show(Direction::Up, b"abc"), Look::More);
        assert_eq!(taps.show(Direction::Up, b"defgh"), Look::Enough);
        assert_eq!(Arc::strong_count(&seen[0]), 1, "gone");
        assert!(!taps.want(Direction::Up) && taps.want(Direction::Down));
        assert_eq!(taps.show(Direction::Down, b"xyzzy"), Look::Enough);
        assert!(taps.is_empty());
        let up = |text: &str| (Direction::Up, text.to_owned());
        assert_eq!(*seen[0].lock().unwrap(), [up("abc"), up("d")]);
        let down = (Direction::Down, "xyz".to_owned());
        assert_eq!(*seen[1].lock().unwrap(), [up("abc"), up("def"), down]);
    }

    #[test]
    fn who_has_enough_is_shown_no_more_and_who_ends_it_is_the_last() {
        let (mut taps, seen) = taps(&[[9, 0], [9, 0], [9, 0]]);
        assert_eq!(taps.show(Direction::Up, b"a."), Look::Enough);
        assert!(taps.is_empty());
        assert_eq!(seen[2].lock().unwrap().len(), 1);

        let (mut taps, seen) = self::taps(&[[9, 0], [9, 0]]);
        assert_eq!(taps.show(Direction::Up, b"a!"), Look::End);
        assert_eq!(seen[1].lock().unwrap().len(), 0);
    }

    #[test]
    fn one_that_wants_nothing_is_not_kept() {
        assert!(taps(&[[0, 0]]).0.is_empty());
    }

    #[test]
    fn one_relay_takes_a_tap_and_a_clone_of_its_policy_has_none() {
        let mut policy = Policy::new();
        let seen = Arc::default();
        policy.add_tap(Notes {
            wants: [1, 1],
            seen: Arc::clone(&seen),
        });
        let clone = policy.clone();
        assert!(!policy.take_taps().is_empty());
        assert!(clone.take_taps().is_empty());
        assert_eq!(
            Arc::strong_count(&seen),
            1,
            "dropped, though `policy` lives"
        );
    }
}
