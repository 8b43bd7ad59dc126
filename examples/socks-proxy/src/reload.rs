//! SIGHUP: everything is read again, and takes effect as a whole, or not at all; the log's
//! file is opened again. SIGUSR1: that alone.
//!
//! New sessions find what is new. Those that live keep what they began with, their place
//! among the limits too, where nothing has changed about these.

use std::{error::Error, sync::Arc};

use tokio::sync::watch;

use crate::{
    config::{Cli, Config},
    kept::Kept,
    live::Live,
    log::{self, Log},
    manager,
    parts::Parts,
    summary,
};

/// What is in effect, and how to replace it.
pub struct Reload<S> {
    pub cli: Arc<Cli>,
    /// The configuration of the start, some of which cannot change.
    pub started: Config,
    pub kept: Kept,
    pub log: Arc<Log>,
    pub live: Live<S>,
    /// Counts the stacks that have been replaced.
    pub replaced: watch::Sender<u64>,
}

/// Keys that are read at the start alone.
const AT_THE_START: [&str; 13] = [
    "listen",
    "keepalive",
    "unready-time",
    "grace",
    "max-connections",
    "node",
    "threads",
    "runtime",
    "admin",
    "admin-token",
    "agent",
    "log-file",
    "log-format",
];

impl<S: Clone + Send + 'static> Reload<S> {
    /// Reloads at each SIGHUP, until the runtime ends. `build` makes a stack.
    #[cfg(unix)]
    pub fn spawn(
        mut self,
        build: impl Fn(&Config, Parts) -> S + Send + 'static,
    ) -> std::io::Result<()> {
        use tokio::{signal::unix, task::spawn_blocking};

        let mut hangups = unix::signal(unix::SignalKind::hangup())?;
        let mut reopen = unix::signal(unix::SignalKind::user_defined1())?;
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            while reopen.recv().await.is_some() {
                log.reopen();
            }
        });
        let mut build = Some(build);
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                let Some(with) = build.take() else { return };
                // It reads files, and looks up names.
                let reloaded = spawn_blocking(move || {
                    self.told(&with);
                    (self, with)
                });
                let Ok((reload, with)) = reloaded.await else {
                    tracing::error!("a reload has panicked: there will be no other");
                    return;
                };
                self = reload;
                build = Some(with);
            }
        });
        Ok(())
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    pub fn spawn(self, _: impl Fn(&Config, Parts) -> S + Send + 'static) -> std::io::Result<()> {
        Ok(())
    }

    fn told(&mut self, build: &impl Fn(&Config, Parts) -> S) {
        manager::reloading();
        self.log.reopen();
        match self.run(build) {
            Ok(()) => tracing::info!("reloaded"),
            Err(error) => {
                self.kept.roll_back();
                tracing::error!(%error, "not reloaded: what was in effect still is");
            }
        }
        manager::ready();
    }

    fn run(&mut self, build: &impl Fn(&Config, Parts) -> S) -> Result<(), Box<dyn Error>> {
        let config = self.cli.load()?;
        let filter = log::filter(&config)?;
        let parts = Parts::new(&config, &mut self.kept)?;
        // Nothing fails from here on.
        self.log.set_filter(filter);
        // Kept connections are of the old one, and ask it for nothing more.
        self.replaced.send_modify(|count| *count += 1);
        self.live.replace(build(&config, parts));
        self.kept.commit();
        summary::warn(&config);
        for key in changed(&self.started, &config) {
            tracing::warn!(key, "changed, and needs a restart to take effect");
        }
        Ok(())
    }
}

/// Those of [`AT_THE_START`] that are not what they were.
fn changed(old: &Config, new: &Config) -> impl Iterator<Item = &'static str> {
    let table = |config| toml::Table::try_from(config).unwrap_or_default();
    let (old, new) = (table(old), table(new));
    AT_THE_START
        .into_iter()
        .filter(move |&key| old.get(key) != new.get(key))
}
