//! What has happened since the start, and how much of it in each of the last seconds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;
use socks_tower::{
    Direction,
    middleware::{
        Observer,
        observe::{CarriedReport, Outcome, Record, Summary},
    },
};

use crate::lock;

/// Seconds that a plot shows.
const SHOWN: usize = 300;

/// Counts, as an observer of all sessions.
#[derive(Default)]
pub struct Totals {
    accepted: AtomicU64,
    ended: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    /// By why they had no tunnel. There are as many as there are kinds of errors.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    /// By why the tunnel ended.
    ends: Mutex<BTreeMap<&'static str, u64>>,
    seconds: Mutex<Seconds>,
}

#[derive(Default)]
struct Seconds {
    /// The totals at the end of the last one.
    last: Totalled,
    shown: VecDeque<Second>,
}

#[derive(Clone, Copy, Default)]
struct Totalled {
    accepted: u64,
    up: u64,
    down: u64,
}

/// What happened in a second.
#[derive(Clone, Serialize)]
struct Second {
    accepted: u64,
    up: u64,
    down: u64,
    live: u64,
}

/// All of it, for the page.
#[derive(Serialize)]
pub struct Report {
    accepted: u64,
    live: u64,
    up: u64,
    down: u64,
    refusals: BTreeMap<&'static str, u64>,
    ends: BTreeMap<&'static str, u64>,
    seconds: Vec<Second>,
}

impl Totals {
    pub fn report(&self) -> Report {
        let now = self.now();
        Report {
            accepted: now.accepted,
            live: self.live(now),
            up: now.up,
            down: now.down,
            refusals: lock(&self.refusals).clone(),
            ends: lock(&self.ends).clone(),
            seconds: lock(&self.seconds).shown.iter().cloned().collect(),
        }
    }

    /// A second is over.
    pub fn tick(&self) {
        let now = self.now();
        let live = self.live(now);
        let mut seconds = lock(&self.seconds);
        let last = std::mem::replace(&mut seconds.last, now);
        if seconds.shown.len() == SHOWN {
            seconds.shown.pop_front();
        }
        seconds.shown.push_back(Second {
            accepted: now.accepted - last.accepted,
            up: now.up - last.up,
            down: now.down - last.down,
            live,
        });
    }

    fn now(&self) -> Totalled {
        Totalled {
            accepted: self.accepted.load(Relaxed),
            up: self.up.load(Relaxed),
            down: self.down.load(Relaxed),
        }
    }

    fn live(&self, now: Totalled) -> u64 {
        now.accepted.saturating_sub(self.ended.load(Relaxed))
    }
}

impl Observer for Totals {
    fn accepted(&self, _: &Record) {
        self.accepted.fetch_add(1, Relaxed);
    }

    fn carried(&self, _: &Record, report: &CarriedReport) {
        let way = match report.direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        way.fetch_add(report.bytes, Relaxed);
    }

    fn ended(&self, summary: &Summary<'_>) {
        self.ended.fetch_add(1, Relaxed);
        let why = summary.outcome.as_str();
        let table = match summary.outcome {
            _ if summary.record.established => &self.ends,
            Outcome::Done(_) => return,
            _ => &self.refusals,
        };
        *lock(table).entry(why).or_default() += 1;
    }
}
