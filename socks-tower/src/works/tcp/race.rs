//! Races connection attempts to the addresses of one target, so that a dead
//! address, or a whole address family without a route, costs a quarter of a
//! second and not a timeout.
//!
//! [`TcpConnector`](super::TcpConnector) does this for you. Use [`Race`] where
//! the dialling is your own: through a tunnel, with TLS up to its handshake.
//!
//! # Example
//!
//! ```no_run
//! use socks_tower::works::tcp::Race;
//! use tokio::net::TcpStream;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let addrs = ["[2001:db8::1]:443".parse()?, "192.0.2.1:443".parse()?];
//! match Race::new().run(&addrs, TcpStream::connect).await {
//!     Ok(stream) => println!("connected to {}", stream.peer_addr()?),
//!     Err(failures) => {
//!         for (addr, error) in failures {
//!             println!("{addr}: {error}");
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The rules
//!
//! They are those of RFC 8305, sections 4 and 5, for addresses that are all
//! known at the start:
//!
//! - The families take turns, beginning with that of the first address; within
//!   a family the order stays (the resolver's, RFC 6724).
//! - An attempt starts when the one before it has had [`Race::DEFAULT_DELAY`]
//!   without an outcome, or at once when it fails.
//! - The first success wins. The other attempts are dropped, which closes their
//!   sockets.
//! - All addresses are tried, but no more than [`Race::MAX_AT_ONCE`] at a time: the
//!   attempt that has been silent for longest, 4 s by then, makes room for the next.
//!
//! There is no limit on the whole: put a timeout around it.

use std::{
    future::{Future, poll_fn},
    iter,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::time::sleep;

/// How to race; see the [module](self) for the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race {
    delay: Duration,
    max_attempts: usize,
}

impl Race {
    /// The Connection Attempt Delay that RFC 8305 recommends: 250 ms.
    pub const DEFAULT_DELAY: Duration = Duration::from_millis(250);

    /// The least delay that RFC 8305 allows: 10 ms.
    pub const MIN_DELAY: Duration = Duration::from_millis(10);

    /// 16 attempts at a time: a name that has hundreds of addresses does not turn
    /// one request into hundreds of sockets.
    pub const MAX_AT_ONCE: usize = 16;

    /// The default delay, and all addresses.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            delay: Self::DEFAULT_DELAY,
            max_attempts: usize::MAX,
        }
    }

    /// How long an attempt may take before the next one starts beside it. Less
    /// than [`MIN_DELAY`](Self::MIN_DELAY) is raised to it; [`Duration::MAX`]
    /// tries one address after the other.
    #[must_use]
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = if delay.as_millis() < Self::MIN_DELAY.as_millis() {
            Self::MIN_DELAY
        } else {
            delay
        };
        self
    }

    /// How many addresses to try at most, by default all; at least one is tried.
    #[must_use]
    pub const fn with_max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// Dials `addrs` until one answers.
    ///
    /// With a single address there is neither a timer nor an allocation;
    /// otherwise it needs a runtime whose time is enabled. Dropping the future
    /// drops all attempts.
    ///
    /// # Errors
    ///
    /// If every attempt fails: each address with its error, in the order in
    /// which they failed, but for those that made room. Empty, if `addrs` is.
    pub async fn run<T, E, F>(
        self,
        addrs: &[SocketAddr],
        mut dial: impl FnMut(SocketAddr) -> F,
    ) -> Result<T, Vec<(SocketAddr, E)>>
    where
        F: Future<Output = Result<T, E>>,
    {
        match *addrs {
            [] => return Err(Vec::new()),
            [addr] => return dial(addr).await.map_err(|error| vec![(addr, error)]),
            _ => {}
        }

        let mut waiting = interleaved(addrs).take(self.max_attempts).peekable();
        let mut running: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
        let mut failures = Vec::new();
        let mut delay = pin!(sleep(self.delay));
        let mut due = true;

        poll_fn(|cx| {
            loop {
                if due && let Some(addr) = waiting.next() {
                    if running.len() == Self::MAX_AT_ONCE {
                        running.remove(0);
                    }
                    running.push((addr, Box::pin(dial(addr))));
                    delay.set(sleep(self.delay));
                }
                due = false;

                let mut index = 0;
                while let Some((addr, attempt)) = running.get_mut(index) {
                    match attempt.as_mut().poll(cx) {
                        Poll::Pending => index += 1,
                        Poll::Ready(Ok(connected)) => return Poll::Ready(Ok(connected)),
                        Poll::Ready(Err(error)) => {
                            failures.push((*addr, error));
                            running.remove(index);
                            // Only the latest start hurries the next one: the
                            // others have had their delay.
                            due = index == running.len();
                        }
                    }
                }

                if waiting.peek().is_none() {
                    if running.is_empty() {
                        return Poll::Ready(Err(std::mem::take(&mut failures)));
                    }
                    return Poll::Pending;
                }
                if !due {
                    match delay.as_mut().poll(cx) {
                        Poll::Ready(()) => due = true,
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        })
        .await
    }
}

impl Default for Race {
    fn default() -> Self {
        Self::new()
    }
}

/// The families by turns, beginning with that of the first address.
fn interleaved(addrs: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let first_is_v6 = addrs.first().is_some_and(SocketAddr::is_ipv6);
    let mut first = addrs
        .iter()
        .filter(move |addr| addr.is_ipv6() == first_is_v6);
    let mut second = addrs
        .iter()
        .filter(move |addr| addr.is_ipv6() != first_is_v6);
    let mut turn = false;
    iter::from_fn(move || {
        turn = !turn;
        if turn {
            first.next().or_else(|| second.next())
        } else {
            second.next().or_else(|| first.next())
        }
    })
    .copied()
}

#[cfg(test)]
mod tests;
