//! What the service manager hears (`sd_notify(3)`): when the proxy is ready, reloads and
//! ends, and that it lives. Without one, nobody is told.

use std::time::Duration;

#[cfg(unix)]
use sd_notify::NotifyState;

use crate::beats::Beats;

/// It serves.
pub fn ready() {
    #[cfg(unix)]
    tell(&[NotifyState::Ready]);
}

/// It reads everything again, and is [`ready`] next.
pub fn reloading() {
    #[cfg(unix)]
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager hears of no reload"),
    }
}

/// It has been told to end.
pub fn stopping() {
    #[cfg(unix)]
    tell(&[NotifyState::Stopping]);
}

/// None if the service manager does not want to hear that the proxy lives.
pub fn watchdog() -> Option<Duration> {
    #[cfg(unix)]
    return sd_notify::watchdog_enabled();
    #[cfg(not(unix))]
    None
}

/// Says that it lives, for as long as all `beats` go on, often enough for one who waits
/// for `patience`.
pub async fn alive(beats: Beats, patience: Duration) {
    let mut ticks = tokio::time::interval(patience / 4);
    loop {
        ticks.tick().await;
        if beats.all_since(patience / 2) {
            #[cfg(unix)]
            tell(&[NotifyState::Watchdog]);
        }
    }
}

#[cfg(unix)]
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, ?states, "the service manager does not hear");
    }
}
