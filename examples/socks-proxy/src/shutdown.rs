//! SIGTERM and SIGINT, on Windows Ctrl-Break and Ctrl-C: the first drains, the
//! second cuts.

use std::{future::Future, io, time::Duration};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{ctrl_break as terminate, ctrl_c as interrupt};
use tokio::{sync::watch, time::sleep};

use crate::manager;

pub struct Shutdown {
    signals: watch::Receiver<u32>,
}

/// Counts signals from now on.
pub fn signals() -> io::Result<Shutdown> {
    let mut terminate = terminate()?;
    let mut interrupt = interrupt()?;
    let (count, signals) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            count.send_modify(|count| *count += 1);
            manager::stopping();
        }
    });
    Ok(Shutdown { signals })
}

#[cfg(unix)]
fn terminate() -> io::Result<Signal> {
    signal(SignalKind::terminate())
}

#[cfg(unix)]
fn interrupt() -> io::Result<Signal> {
    signal(SignalKind::interrupt())
}

/// Whether new clients should come.
#[derive(Clone)]
pub struct Readiness {
    signals: watch::Receiver<u32>,
}

impl Readiness {
    /// Until the first signal: before anybody is refused.
    pub fn is_ready(&self) -> bool {
        *self.signals.borrow() == 0
    }
}

impl Shutdown {
    pub fn readiness(&self) -> Readiness {
        Readiness {
            signals: self.signals.clone(),
        }
    }

    /// When no more clients are taken: so long after the first signal.
    pub fn first(&self, unready_time: Duration) -> impl Future<Output = ()> + Send + use<> {
        let first = self.after(1);
        async move {
            first.await;
            sleep(unready_time).await;
        }
    }

    pub fn second(&self) -> impl Future<Output = ()> + Send + use<> {
        let second = self.after(2);
        async {
            second.await;
            tracing::warn!("cut by a second signal");
        }
    }

    fn after(&self, signals: u32) -> impl Future<Output = ()> + Send + use<> {
        let mut count = self.signals.clone();
        async move {
            // The sender lives as long as the runtime.
            let _ = count.wait_for(|&count| count >= signals).await;
        }
    }
}

/// When connections that are kept between two requests are to end: once their stack has
/// been replaced, or no more clients are taken.
#[derive(Clone)]
pub struct Ending {
    signals: watch::Receiver<u32>,
    replaced: watch::Receiver<u64>,
    unready_time: Duration,
}

impl Ending {
    pub fn new(
        shutdown: &Shutdown,
        replaced: watch::Receiver<u64>,
        unready_time: Duration,
    ) -> Self {
        Self {
            signals: shutdown.signals.clone(),
            replaced,
            unready_time,
        }
    }

    /// That of a stack that replaces those before.
    pub fn of_newest(&self) -> Self {
        let mut newest = self.clone();
        newest.replaced.borrow_and_update();
        newest
    }

    pub async fn ended(mut self) {
        tokio::select! {
            _ = self.replaced.changed() => {}
            () = async {
                let _ = self.signals.wait_for(|&count| count > 0).await;
                sleep(self.unready_time).await;
            } => {}
        }
    }
}
