//! What the relays do to a session's bytes besides carrying them.
//!
//! A [`Policy`] stands in every [`Session`](crate::Session): [`Meter`]s that are
//! told of bytes, [`Throttle`]s that are asked for them, and [`Tap`]s that are
//! shown the first of them. Layers *set* it,
//! anywhere between the stages; the relays, of TCP and of UDP, *carry it out*.
//! So no layer has to wrap a stream to see its bytes, and between two plain
//! sockets the kernel goes on carrying them ([`Relay`](crate::Relay)).
//!
//! It is set before the last stage, and not around a work: a work has a copy of
//! the session, which ends there. That is said once in the log, as an error. An empty policy, the default, is a null
//! pointer, and costs one look at it.
//!
//! # Example
//!
//! A layer that counts the bytes of all sessions:
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//!
//! use socks_tower::{Accepted, Direction, Meter, Socks};
//! use tokio::net::TcpStream;
//! use tower::ServiceBuilder;
//!
//! #[derive(Default)]
//! struct Total(AtomicU64);
//!
//! impl Meter for Total {
//!     fn record(&self, _: Direction, bytes: u64) {
//!         self.0.fetch_add(bytes, Ordering::Relaxed);
//!     }
//! }
//!
//! let total = Arc::new(Total::default());
//! let meter = Arc::clone(&total);
//! let proxy = ServiceBuilder::new()
//!     .map_request(move |mut accepted: Accepted<TcpStream>| {
//!         accepted.session.policy.add_meter(meter.clone());
//!         accepted
//!     })
//!     .service(Socks::new());
//! # fn check(_: impl tower::Service<Accepted<TcpStream>>) {}
//! # check(proxy);
//! ```

mod tap;
mod throttle;

use std::{
    fmt,
    sync::{Arc, Mutex, Once, PoisonError},
};

pub use tap::{Look, Tap, Taps};
pub use throttle::{Grant, Throttle};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

impl Direction {
    /// `up` or `down`, as logs and metrics want it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Is told how many bytes a session has moved.
pub trait Meter: Send + Sync + 'static {
    /// The receiving side has taken `bytes` more, which are not 0.
    ///
    /// A relay says so once for each wake-up that moved something, and for
    /// each direction, from the task that carries them: this must be quick and must not
    /// block. What is counted is payload, not SOCKS's own words.
    fn record(&self, direction: Direction, bytes: u64);
}

impl<M: Meter + ?Sized> Meter for Arc<M> {
    fn record(&self, direction: Direction, bytes: u64) {
        M::record(self, direction, bytes);
    }
}

/// Meters, throttles and taps of a session. See the [module's page](self).
///
/// A clone is a pointer to the same; what is added to it is added to it alone.
#[derive(Clone, Default)]
pub struct Policy {
    parts: Option<Arc<Parts>>,
    /// It is a copy that a work was handed: nobody carries it out.
    of_work: bool,
}

#[derive(Clone, Default)]
struct Parts {
    meters: Vec<Arc<dyn Meter>>,
    throttles: Vec<Arc<dyn Throttle>>,
    /// Each is there until a relay takes it.
    taps: Vec<Arc<Mutex<Option<Box<dyn Tap>>>>>,
}

impl Policy {
    /// A policy that asks for nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            parts: None,
            of_work: false,
        }
    }

    /// Whether there is nothing to carry out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_none()
    }

    /// Tells `meter` of all bytes from here on.
    pub fn add_meter(&mut self, meter: impl Meter) {
        self.share_meter(Arc::new(meter));
    }

    pub(crate) fn share_meter(&mut self, meter: Arc<dyn Meter>) {
        self.parts_mut().meters.push(meter);
    }

    /// Takes the meter at this address out.
    #[cfg(feature = "http-forward")]
    pub(crate) fn remove_meter(&mut self, meter: *const ()) {
        let meters = &mut self.parts_mut().meters;
        meters.retain(|it| !std::ptr::addr_eq(Arc::as_ptr(it), meter));
    }

    /// Asks `throttle` for all bytes from here on, besides those that are asked
    /// already. The session holds it until its relay ends.
    pub fn add_throttle(&mut self, throttle: impl Throttle) {
        self.parts_mut().throttles.push(Arc::new(throttle));
    }

    /// Shows `tap` the first bytes of the session's tunnel.
    pub fn add_tap(&mut self, tap: impl Tap) {
        let tap: Box<dyn Tap> = Box::new(tap);
        self.parts_mut().taps.push(Arc::new(Mutex::new(Some(tap))));
    }

    /// The taps, for a relay that is about to carry bytes: to whom it shows them.
    /// Who comes second, with a clone of this policy, is given none.
    #[must_use = "they are gone from the policy"]
    pub fn take_taps(&self) -> Taps {
        let taps = self.parts.iter().flat_map(|parts| &parts.taps);
        // Nothing panics while it is held.
        Taps::new(taps.filter_map(|tap| tap.lock().unwrap_or_else(PoisonError::into_inner).take()))
    }

    /// Whether bytes are told of, or asked for.
    pub(crate) fn counts(&self) -> bool {
        let parts = self.parts.as_ref();
        parts.is_some_and(|parts| !(parts.meters.is_empty() && parts.throttles.is_empty()))
    }

    fn parts_mut(&mut self) -> &mut Parts {
        if self.of_work {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                tracing::error!(
                    "a layer around a work adds to its session's policy, which no relay will \
                     carry out: it belongs between the stages"
                );
            });
        }
        Arc::make_mut(self.parts.get_or_insert_default())
    }

    /// It is in a copy of the session that a work is handed.
    pub(crate) fn is_of_work(&mut self) {
        self.of_work = true;
    }

    fn throttles(&self) -> &[Arc<dyn Throttle>] {
        self.parts.as_ref().map_or(&[], |parts| &parts.throttles)
    }

    /// Tells every meter that the receiving side has taken `bytes` more.
    pub fn record(&self, direction: Direction, bytes: u64) {
        if let Some(parts) = self.parts.as_ref().filter(|_| bytes > 0) {
            for meter in &parts.meters {
                meter.record(direction, bytes);
            }
        }
    }

    /// Takes up to `want` bytes, for a relay that can wait: as many as *every*
    /// throttle grants. If one refuses, none is charged.
    ///
    /// What is taken and not used is to be [given back](Self::give_back).
    pub fn take(&self, direction: Direction, want: u64) -> Grant {
        let throttles = self.throttles();
        let mut granted = want;
        for (asked, throttle) in throttles.iter().enumerate() {
            let before = granted;
            let refusal = match throttle.take(direction, before) {
                Grant::Bytes(bytes) if bytes > 0 => {
                    granted = before.min(bytes);
                    None
                }
                refusal => {
                    granted = 0;
                    Some(refusal)
                }
            };
            for throttle in throttles.iter().take(asked).filter(|_| granted < before) {
                throttle.give_back(direction, before - granted);
            }
            if let Some(refusal) = refusal {
                return refusal;
            }
        }
        Grant::Bytes(granted)
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&self, direction: Direction, bytes: u64) {
        for throttle in self.throttles().iter().filter(|_| bytes > 0) {
            throttle.give_back(direction, bytes);
        }
    }

    /// Takes exactly `bytes`, for a relay that drops what may not pass now: a
    /// datagram. If one throttle refuses, none is charged.
    ///
    /// A datagram without payload, 0 bytes, is taken as 1: that is what is to be
    /// [given back](Self::give_back) if it is not sent.
    #[must_use = "what is not granted must not pass"]
    pub fn try_grant(&self, direction: Direction, bytes: u64) -> bool {
        let bytes = bytes.max(1);
        let throttles = self.throttles();
        let granted = |throttle: &Arc<dyn Throttle>| throttle.try_take(direction, bytes);
        let Some(refused) = throttles.iter().position(|throttle| !granted(throttle)) else {
            return true;
        };
        for throttle in throttles.iter().take(refused) {
            throttle.give_back(direction, bytes);
        }
        false
    }

    /// Whether a throttle has said that it will grant no more, ever: the
    /// session is to end, with [`End::QuotaExceeded`](crate::End::QuotaExceeded).
    ///
    /// For a relay of datagrams to ask once it was refused one.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        let mut throttles = self.throttles().iter();
        throttles.any(|throttle| throttle.is_exhausted())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lens = |parts: &Arc<Parts>| [parts.meters.len(), parts.taps.len()];
        let [meters, taps] = self.parts.as_ref().map_or([0; 2], lens);
        f.debug_struct("Policy")
            .field("meters", &meters)
            .field("throttles", &self.throttles().len())
            .field("taps", &taps)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// Grants what it has; notes what it is told.
    #[derive(Default)]
    struct Purse {
        has: Mutex<u64>,
        told: Mutex<Vec<(Direction, u64)>>,
    }

    impl Purse {
        fn with(has: u64) -> Arc<Self> {
            Arc::new(Self {
                has: Mutex::new(has),
                ..Self::default()
            })
        }

        fn has(&self) -> u64 {
            *self.has.lock().unwrap()
        }
    }

    impl Throttle for Purse {
        fn take(&self, _: Direction, want: u64) -> Grant {
            let mut has = self.has.lock().unwrap();
            let bytes = want.min(*has);
            *has -= bytes;
            match bytes {
                0 => Grant::Wait(Instant::now()),
                bytes => Grant::Bytes(bytes),
            }
        }

        fn give_back(&self, _: Direction, bytes: u64) {
            *self.has.lock().unwrap() += bytes;
        }
    }

    impl Meter for Purse {
        fn record(&self, direction: Direction, bytes: u64) {
            self.told.lock().unwrap().push((direction, bytes));
        }
    }

    fn policy(purses: &[&Arc<Purse>]) -> Policy {
        let mut policy = Policy::new();
        for purse in purses {
            policy.add_throttle(Arc::clone(purse));
        }
        policy
    }

    #[test]
    fn an_empty_policy_is_two_words_and_grants_all() {
        assert_eq!(size_of::<Policy>(), 2 * size_of::<usize>());
        let policy = Policy::new();
        assert!(policy.is_empty());
        assert_eq!(policy.take(Direction::Up, 7), Grant::Bytes(7));
        assert!(policy.try_grant(Direction::Up, u64::MAX));
        assert!(!policy.is_exhausted());
    }

    #[test]
    fn the_least_of_the_grants_counts_and_is_all_that_is_charged() {
        let purses = [10, 4, 6].map(Purse::with);
        let policy = policy(&purses.each_ref());
        assert_eq!(policy.take(Direction::Up, 8), Grant::Bytes(4));
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [6, 0, 2]);
        policy.give_back(Direction::Up, 3);
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [9, 3, 5]);
    }

    #[test]
    fn nobody_is_charged_for_what_another_refuses() {
        let purses = [10, 5, 0].map(Purse::with);
        let policy = policy(&purses.each_ref());
        assert!(matches!(policy.take(Direction::Up, 8), Grant::Wait(_)));
        assert!(!policy.try_grant(Direction::Up, 1));
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [10, 5, 0]);
    }

    #[test]
    fn a_datagram_passes_whole_or_not_at_all() {
        let purses = [10, 5].map(Purse::with);
        let policy = policy(&purses.each_ref());
        assert!(!policy.try_grant(Direction::Down, 6));
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [10, 5]);
        assert!(policy.try_grant(Direction::Down, 5));
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [5, 0]);
    }

    #[test]
    fn a_datagram_without_payload_is_taken_as_a_byte() {
        let purses = [1, 2].map(Purse::with);
        let policy = policy(&purses.each_ref());
        assert!(policy.try_grant(Direction::Up, 0));
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [0, 1]);
        assert!(!policy.try_grant(Direction::Up, 0));
        assert_eq!(purses.each_ref().map(|purse| purse.has()), [0, 1]);
    }

    #[test]
    fn what_is_added_to_a_clone_is_added_to_it_alone() {
        let (outer, inner) = (Purse::with(0), Purse::with(0));
        let mut policy = Policy::new();
        policy.add_meter(Arc::clone(&outer));
        let mut clone = policy.clone();
        clone.add_meter(Arc::clone(&inner));
        policy.record(Direction::Up, 1);
        clone.record(Direction::Down, 2);
        clone.record(Direction::Down, 0);
        let both = [(Direction::Up, 1), (Direction::Down, 2)];
        assert_eq!(*outer.told.lock().unwrap(), both);
        assert_eq!(*inner.told.lock().unwrap(), both[1..]);
    }
}
