use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use socks_core::v5::Command;

use crate::session::{
    Datagrams, DropReason, Protocol,
    policy::Direction,
    watch::{CarriedReport, Observer, Outcome, Record, StageKind, StageReport, Summary},
};

/// The handles of all series. Each is looked up in the recorder once.
pub(super) struct Numbers {
    live_sessions: Gauge,
    live_tunnels: Gauge,
    bytes: [Counter; 2],
    datagrams: [Counter; 2],
    dropped: Vec<Counter>,
    stages: Vec<[Histogram; 2]>,
    sessions: Family<[&'static str; 3]>,
    tunnels: Family<&'static str>,
    refusals: Family<&'static str>,
}

const DIRECTIONS: [Direction; 2] = [Direction::Up, Direction::Down];

impl Numbers {
    pub(super) fn register() -> Self {
        describe();
        let of_direction = |name: &'static str| {
            DIRECTIONS.map(|direction| counter!(name, "direction" => direction.as_str()))
        };
        let of_reason = |reason: &DropReason| counter!("socks_datagrams_dropped_total", "reason" => reason.as_str());
        let of_stage = |stage: &StageKind| {
            ["done", "failed"].map(|result| {
                let stage = stage.as_str();
                histogram!("socks_stage_duration_seconds", "stage" => stage, "result" => result)
            })
        };
        Self {
            live_sessions: gauge!("socks_live_sessions"),
            live_tunnels: gauge!("socks_live_tunnels"),
            bytes: of_direction("socks_bytes_total"),
            datagrams: of_direction("socks_datagrams_total"),
            dropped: DropReason::ALL.iter().map(of_reason).collect(),
            stages: StageKind::ALL.iter().map(of_stage).collect(),
            sessions: Family::new(|&[version, command, outcome]| {
                counter!(
                    "socks_sessions_total",
                    "version" => version, "command" => command, "outcome" => outcome
                )
            }),
            tunnels: Family::new(|&end| counter!("socks_tunnels_total", "end" => end)),
            refusals: Family::new(|&reason| counter!("socks_refusals_total", "reason" => reason)),
        }
    }
}

impl Observer for Numbers {
    fn accepted(&self, _: &Record) {
        self.live_sessions.increment(1.0);
    }

    fn stage(&self, _: &Record, report: &StageReport) {
        if let Some([done, failed]) = self.stages.get(report.stage as usize) {
            let histogram = if report.failed { failed } else { done };
            histogram.record(report.took.as_secs_f64());
        }
    }

    fn established(&self, _: &Record) {
        self.live_tunnels.increment(1.0);
    }

    fn carried(&self, _: &Record, report: &CarriedReport) {
        let [up, down] = &self.bytes;
        match report.direction {
            Direction::Up => up.increment(report.bytes),
            Direction::Down => down.increment(report.bytes),
        }
    }

    fn datagrams(&self, _: &Record, more: &Datagrams) {
        let [up, down] = &self.datagrams;
        up.increment(more.up);
        down.increment(more.down);
        for (reason, counter) in DropReason::ALL.iter().zip(&self.dropped) {
            match more.dropped.of(*reason) {
                0 => {}
                dropped => counter.increment(dropped),
            }
        }
    }

    fn ended(&self, summary: &Summary<'_>) {
        let record = summary.record;
        self.live_sessions.decrement(1.0);
        let key = [
            version(record),
            command(record.command),
            outcome(summary.outcome),
        ];
        self.sessions.increment(key);
        if record.established {
            self.live_tunnels.decrement(1.0);
            self.tunnels.increment(summary.outcome.as_str());
        } else if !matches!(summary.outcome, Outcome::Done(_)) {
            self.refusals.increment(summary.outcome.as_str());
        }
    }
}

/// A client of a protocol that is none of ours must not bring a series of its
/// own.
fn version(record: &Record) -> &'static str {
    match record.protocol {
        None | Some(Protocol::Socks) => "none",
        Some(Protocol::Socks4 | Protocol::Socks4a | Protocol::Socks5) => {
            let version = record.protocol.and_then(Protocol::version);
            version.unwrap_or("none")
        }
        Some(Protocol::Http | Protocol::Http10 | Protocol::Http11) => "http",
        Some(Protocol::Other(other)) => other.name(),
    }
}

fn command(command: Option<Command>) -> &'static str {
    match command {
        None => "none",
        Some(Command::CONNECT) => "connect",
        Some(Command::BIND) => "bind",
        Some(Command::UDP_ASSOCIATE) => "udp_associate",
        Some(Command::RESOLVE) => "resolve",
        Some(Command::RESOLVE_PTR) => "resolve_ptr",
        Some(_) => "other",
    }
}

fn outcome(outcome: Outcome<'_>) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Failed(_) => "failed",
        Outcome::Cut => "cut",
        Outcome::Panicked => "panicked",
    }
}

/// Counters of one name, registered when there is something to count.
struct Family<K> {
    register: fn(&K) -> Counter,
    counters: Mutex<HashMap<K, Counter>>,
}

impl<K: Copy + Eq + Hash> Family<K> {
    fn new(register: fn(&K) -> Counter) -> Self {
        let counters = Mutex::default();
        Self { register, counters }
    }

    fn increment(&self, key: K) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(key);
        counter.or_insert_with_key(self.register).increment(1);
    }
}

fn describe() {
    describe_counter!("socks_sessions_total", "Connections that have ended");
    describe_gauge!("socks_live_sessions", "Connections that have not ended");
    describe_counter!(
        "socks_tunnels_total",
        "Tunnels and associations that have ended"
    );
    describe_gauge!(
        "socks_live_tunnels",
        "Tunnels and associations that have not ended"
    );
    describe_counter!(
        "socks_refusals_total",
        "Sessions that ended before they had a tunnel"
    );
    describe_counter!("socks_bytes_total", Unit::Bytes, "Payload carried");
    describe_histogram!(
        "socks_stage_duration_seconds",
        Unit::Seconds,
        "How long the stages of sessions took"
    );
    describe_counter!("socks_datagrams_total", "Datagrams carried by associations");
    describe_counter!(
        "socks_datagrams_dropped_total",
        "Datagrams dropped by associations"
    );
}
