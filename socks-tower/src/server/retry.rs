//! What comes after an error of `accept(2)`.

use std::{io, time::Duration};

use tokio::time::sleep;
use tracing::{debug, warn};

/// Errors in a row, and what they cost.
///
/// All pass but those that say that there is no listener: one odd error must
/// not end everybody's tunnels.
#[derive(Default)]
pub(crate) struct Retry {
    lost: u32,
    waits: u32,
}

impl Retry {
    /// Connections lost in a row that are not waited after. More is no stream
    /// of bad luck, but a system that says no to each: do not spin.
    const MAX_LOST: u32 = 32;
    const FIRST: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(1);

    /// Returns when it may be tried again: at once if the error was about one
    /// connection, or else after a wait that is longer each time, so that a
    /// server without descriptors does not spin, and notices soon when there are
    /// some again.
    ///
    /// # Errors
    ///
    /// `error`, if it will be the same for ever.
    pub(crate) async fn after(&mut self, error: io::Error) -> io::Result<()> {
        if is_for_good(&error) {
            return Err(error);
        }
        if is_about_one_connection(&error) && self.lost < Self::MAX_LOST {
            self.lost += 1;
            debug!(%error, "accept");
            return Ok(());
        }
        if self.waits == 0 {
            warn!(%error, "cannot accept connections for now");
        }
        let wait = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.waits));
        self.waits = self.waits.saturating_add(1);
        sleep(wait.min(Self::MAX)).await;
        Ok(())
    }
}

/// The connection was lost before it was accepted: the next one may be fine.
///
/// accept(2) lists more, for which std has no kind. They cost a short wait.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            // A firewall's verdict on one client.
            | io::ErrorKind::PermissionDenied
    )
}

/// EBADF, EINVAL and ENOTSOCK: it is no listener, or none any more.
const NO_LISTENER: [i32; 3] = if cfg!(any(target_os = "linux", target_os = "android")) {
    [9, 22, 88]
} else if cfg!(windows) {
    [10009, 10022, 10038]
} else {
    [9, 22, 38]
};

/// It can never mend itself.
///
/// What the system says is known by its number: EOPNOTSUPP passes, though
/// std's kind for it sounds final. A user's own listener says by the kind that it
/// has ended.
fn is_for_good(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(number) => NO_LISTENER.contains(&number),
        None => matches!(
            error.kind(),
            io::ErrorKind::InvalidInput
                | io::ErrorKind::NotConnected
                | io::ErrorKind::Unsupported
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
        ),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_all_lost_do_not_make_it_spin() {
        let mut retry = Retry::default();
        let began = Instant::now();
        let lost = || io::Error::from(io::ErrorKind::PermissionDenied);
        for _ in 0..Retry::MAX_LOST {
            retry.after(lost()).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            retry.after(lost()).await.unwrap();
        }
        assert!(began.elapsed() > Duration::from_secs(3));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn whatever_the_system_says_passes_unless_there_is_no_listener() {
        for number in 1..134 {
            let error = io::Error::from_raw_os_error(number);
            let again = Retry::default().after(error).await;
            let for_good = [9, 22, 88].contains(&number);
            assert_eq!(again.is_err(), for_good, "{number}");
        }
    }
}
