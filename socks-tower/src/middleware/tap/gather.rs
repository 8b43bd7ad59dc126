use std::fmt;

use crate::session::policy::{Direction, Look, Tap};

/// A [`Tap`] of one direction that gives a closure all that has come of it, in one
/// piece, each time that more has.
///
/// ```
/// use socks_tower::{Direction, Look, middleware::tap::Gather};
///
/// // The first line of what the target says, of 1 KiB at most.
/// let banner = Gather::new(Direction::Down, 1024, |bytes| {
///     let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
///         return Look::More;
///     };
///     tracing::info!(banner = %bytes[..end].escape_ascii());
///     Look::Enough
/// });
/// # let _ = banner;
/// ```
pub struct Gather<F> {
    direction: Direction,
    most: usize,
    /// Empty until what came first was not enough.
    gathered: Vec<u8>,
    look: F,
}

impl<F: FnMut(&[u8]) -> Look + Send + 'static> Gather<F> {
    /// Shows `look` the first bytes of `direction`, `most` at most. Behind those
    /// everything passes unseen, if it still says [`Look::More`]; the session ends, if
    /// it says [`Look::Hold`].
    #[must_use]
    pub fn new(direction: Direction, most: usize, look: F) -> Self {
        Self {
            direction,
            most,
            gathered: Vec::new(),
            look,
        }
    }
}

impl<F: FnMut(&[u8]) -> Look + Send + 'static> Tap for Gather<F> {
    fn wants(&self, direction: Direction) -> usize {
        match direction == self.direction {
            true => self.most,
            false => 0,
        }
    }

    fn look(&mut self, _: Direction, bytes: &[u8]) -> Look {
        if self.gathered.is_empty() {
            let look = (self.look)(bytes);
            let goes_on = matches!(look, Look::More | Look::Hold);
            if goes_on && bytes.len() < self.most {
                self.gathered.extend_from_slice(bytes);
            }
            return look;
        }
        self.gathered.extend_from_slice(bytes);
        (self.look)(&self.gathered)
    }
}

impl<F> fmt::Debug for Gather<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("direction", &self.direction)
            .field("most", &self.most)
            .field("gathered", &self.gathered.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::session::policy::Policy;

    #[test]
    fn a_closure_sees_all_that_has_come_until_it_has_enough_or_that_is_the_most() {
        for (pieces, expected) in [
            (&["one piece."] as &[&str], &["one piece."] as &[&str]),
            (&["a", "b", "c.", "d"], &["a", "ab", "abc."]),
            (&["seven67", "eight678"], &["seven67", "seven67eig"]),
            (&["more than ten"], &["more than "]),
        ] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let note = Arc::clone(&seen);
            let mut policy = Policy::new();
            policy.add_tap(Gather::new(Direction::Up, 10, move |bytes| {
                note.lock().unwrap().push(bytes.to_vec());
                match bytes.ends_with(b".") {
                    true => Look::Enough,
                    false => Look::More,
                }
            }));
            let mut taps = policy.take_taps();
            assert!(!taps.want(Direction::Down));
            for piece in pieces {
                let _ = taps.show(Direction::Up, piece.as_bytes());
            }
            assert!(taps.is_empty());
            let seen = seen.lock().unwrap();
            assert!(seen.iter().eq(expected.iter().map(|text| text.as_bytes())));
        }
    }
}
