use std::sync::Arc;

use tokio::time::Instant;

use super::Direction;

/// Says how many bytes of a session may pass.
///
/// A relay takes bytes before it reads them, and gives back at once what it did
/// not find to read. So a throttle is charged for what was read, neither more
/// nor less, and what it did not grant stays in the sender's hands.
///
/// A datagram is taken whole, by [`try_take`](Self::try_take). One without
/// payload is taken as 1 byte, and that byte given back if it is not sent: so no
/// datagram passes unasked, though no [`Meter`](super::Meter) hears of it.
///
/// A throttle is called from the relay's task, for each read: it must be quick
/// and must not block.
pub trait Throttle: Send + Sync + 'static {
    /// Takes up to `want` bytes, which are not 0.
    ///
    /// A relay does not know how much there is to read: it wants what fits its
    /// buffer or pipe, 64 KiB to 1 MiB, and often finds less.
    fn take(&self, direction: Direction, want: u64) -> Grant;

    /// Gives back `bytes` of those that were taken.
    fn give_back(&self, direction: Direction, bytes: u64);

    /// Takes exactly `bytes`, which are not 0, or nothing: for datagrams, which
    /// are dropped rather than kept waiting.
    #[must_use = "what is not granted must not pass"]
    fn try_take(&self, direction: Direction, bytes: u64) -> bool {
        match self.take(direction, bytes) {
            Grant::Bytes(granted) if granted >= bytes => true,
            Grant::Bytes(granted) => {
                self.give_back(direction, granted);
                false
            }
            Grant::Wait(_) | Grant::Exhausted => false,
        }
    }

    /// Whether it will grant nothing more to this session, ever.
    fn is_exhausted(&self) -> bool {
        false
    }
}

impl<T: Throttle + ?Sized> Throttle for Arc<T> {
    fn take(&self, direction: Direction, want: u64) -> Grant {
        T::take(self, direction, want)
    }

    fn give_back(&self, direction: Direction, bytes: u64) {
        T::give_back(self, direction, bytes);
    }

    fn try_take(&self, direction: Direction, bytes: u64) -> bool {
        T::try_take(self, direction, bytes)
    }

    fn is_exhausted(&self) -> bool {
        T::is_exhausted(self)
    }
}

/// What a [`Throttle`] has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes may pass: at least 1, and no more than were wanted.
    Bytes(u64),
    /// None now. The relay asks again at this instant, and not before, for
    /// this direction of this session; a session that waits is not idle. An
    /// instant that is past, and 0 bytes, are taken for a millisecond from now.
    Wait(Instant),
    /// None ever: the session ends.
    Exhausted,
}
