use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// First tokens that let somebody in, for as long as they could do so again.
///
/// The system's library has such a list, in a file, which may be switched off, or lie where
/// it cannot be written.
#[derive(Debug)]
pub(super) struct Replays {
    /// They are known by a number that nobody outside can foresee.
    hasher: RandomState,
    /// For how long each is remembered, at least, and at most twice that.
    memory: Duration,
    /// How many are remembered.
    most: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    now: HashSet<u64>,
    before: HashSet<u64>,
}

/// As many are remembered, of 16 bytes or so: one more is let in when there is room.
const MOST: usize = 1 << 20;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Replayed {
    #[error("its token has let somebody in before")]
    Again,
    #[error("too many have been let in to tell whether its token is new")]
    Full,
}

impl Replays {
    /// A token may be older or newer than we believe by `skew`.
    pub(super) fn new(skew: Duration) -> Self {
        Self {
            hasher: RandomState::new(),
            memory: skew.saturating_mul(2),
            most: MOST,
            seen: Mutex::new(Seen {
                since: Instant::now(),
                now: HashSet::new(),
                before: HashSet::new(),
            }),
        }
    }

    /// Remembers that the token of which this is the unique part has let somebody in.
    pub(super) fn remember(&self, unique: &[u8]) -> Result<(), Replayed> {
        let token = self.hasher.hash_one(unique);
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(seen.since);
        if age > self.memory {
            seen.before = mem::take(&mut seen.now);
            if age > self.memory.saturating_mul(2) {
                seen.before = HashSet::new();
            }
            seen.since = now;
        }
        if seen.before.contains(&token) || seen.now.contains(&token) {
            return Err(Replayed::Again);
        }
        if seen.before.len() + seen.now.len() >= self.most {
            return Err(Replayed::Full);
        }
        seen.now.insert(token);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_good_once_for_as_long_as_it_could_be_good() {
        let skew = Duration::from_secs(300);
        let replays = Replays::new(skew);
        for _ in 0..5 {
            replays.remember(b"first").unwrap();
            for _ in 0..10 {
                advance(skew / 5).await;
                assert_eq!(replays.remember(b"first"), Err(Replayed::Again));
            }
            replays.remember(b"second").unwrap();
            advance(skew * 2).await;
            assert_eq!(replays.remember(b"second"), Err(Replayed::Again));
            advance(skew * 10).await;
            replays.remember(b"second").unwrap();
            advance(skew * 10).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_a_newcomer_is_refused() {
        let mut replays = Replays::new(Duration::from_secs(300));
        replays.most = 100;
        for token in 0..100_u8 {
            replays.remember(&[token]).unwrap();
        }
        assert_eq!(replays.remember(b"new"), Err(Replayed::Full));
        advance(Duration::from_secs(3000)).await;
        replays.remember(b"new").unwrap();
    }
}
