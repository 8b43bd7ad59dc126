//! The stretch of time, or of work, that is measured.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::proxy::Proxy;

/// Figures of one measurement, by name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// So long, after a third of it to warm up.
    Time(Duration),
    /// So many units, from the first.
    Units(u64),
}

/// Watches a load from its beginning to its end.
pub(crate) struct Window<'a> {
    proxy: &'a Proxy,
    extent: Extent,
    began: Instant,
    start: Option<Reading>,
    progress: (u64, Instant),
    beside: Option<&'a AtomicU64>,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu: Duration,
    done: u64,
    beside: u64,
}

/// What was done within the window, and what it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) units: f64,
    pub(crate) seconds: f64,
    /// Seconds of the proxy's CPU.
    pub(crate) cpu: f64,
    /// What was done beside it.
    pub(crate) beside: f64,
}

impl<'a> Window<'a> {
    /// A load that goes on longer without a unit done is stuck.
    const STUCK: Duration = Duration::from_secs(10);

    pub(crate) fn new(proxy: &'a Proxy, extent: Extent) -> Self {
        let now = Instant::now();
        Self {
            proxy,
            extent,
            began: now,
            start: None,
            progress: (0, now),
            beside: None,
        }
    }

    /// Reads at its beginning and end as well what another load has done.
    pub(crate) fn beside(self, other: &'a AtomicU64) -> Self {
        Self {
            beside: Some(other),
            ..self
        }
    }

    /// Whether the window has been opened: what was before does not count.
    pub(crate) fn is_open(&self) -> bool {
        self.start.is_some()
    }

    /// To be told now and then how many units are done; says when it is over.
    pub(crate) fn tick(&mut self, done: u64) -> Result<Option<Taken>> {
        let now = Instant::now();
        if done > self.progress.0 {
            self.progress = (done, now);
        } else if now - self.progress.1 > Self::STUCK {
            bail!("stuck after {done} units");
        }
        let warm = match self.extent {
            Extent::Time(time) => time / 3,
            Extent::Units(_) => Duration::ZERO,
        };
        let Some(start) = self.start else {
            if now - self.began >= warm {
                self.start = Some(self.read(done));
            }
            return Ok(None);
        };
        let over = match self.extent {
            Extent::Time(time) => now - start.at >= time,
            Extent::Units(units) => done >= units,
        };
        if !over {
            return Ok(None);
        }
        let end = self.read(done);
        let taken = Taken {
            units: (end.done - start.done) as f64,
            seconds: (end.at - start.at).as_secs_f64(),
            cpu: (end.cpu.saturating_sub(start.cpu)).as_secs_f64(),
            beside: (end.beside - start.beside) as f64,
        };
        ensure!(taken.units > 0.0, "nothing was done");
        ensure!(taken.cpu > 0.0, "the proxy used no CPU: is it in the path?");
        Ok(Some(taken))
    }

    fn read(&self, done: u64) -> Reading {
        Reading {
            cpu: self.proxy.cpu(),
            at: Instant::now(),
            done,
            beside: self.beside.map_or(0, |it| it.load(Ordering::Relaxed)),
        }
    }
}
