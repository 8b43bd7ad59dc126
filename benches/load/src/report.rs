//! What was measured, and what follows from it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    Run,
    proxy::{Commands, Role},
    strace::Calls,
    window::Figures,
};

/// Figure, then proxy, then one value a round: none where it failed.
type Values = BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>>;

#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// In the order given.
    pub(crate) proxies: Vec<String>,
    /// Test, then figure.
    pub(crate) tests: BTreeMap<String, Values>,
    /// Proxy and test, and what went wrong in which round.
    pub(crate) failures: BTreeMap<String, Vec<String>>,
    pub(crate) syscalls: Vec<Calls>,
}

impl Report {
    pub(crate) fn new(options: &Run, proxies: &[Commands]) -> Result<Self> {
        let syscalls = match &options.syscalls {
            Some(file) => serde_json::from_str(&fs::read_to_string(file)?)?,
            None => Vec::new(),
        };
        Ok(Self {
            date: date()?,
            machine: machine()?,
            rounds: options.rounds,
            seconds: options.seconds,
            proxies: proxies.iter().map(|it| it.name.clone()).collect(),
            tests: BTreeMap::new(),
            failures: BTreeMap::new(),
            syscalls,
        })
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) fn add(&mut self, proxy: &str, test: &str, round: usize, figures: &Figures) {
        eprintln!("{round} {test:20} {proxy:14} {figures:.3?}");
        let values = self.tests.entry(test.to_owned()).or_default();
        for (figure, value) in figures {
            let of_proxies = values.entry((*figure).to_owned()).or_default();
            let rounds = of_proxies.entry(proxy.to_owned()).or_default();
            rounds.resize(round, None);
            rounds.push(Some(*value));
        }
    }

    pub(crate) fn fail(&mut self, proxy: &str, test: &str, round: usize, error: &anyhow::Error) {
        eprintln!("{round} {test:20} {proxy:14} failed: {error:#}");
        let failures = self.failures.entry(format!("{proxy}, {test}"));
        failures
            .or_default()
            .push(format!("round {round}: {error:#}"));
    }

    pub(crate) fn failures(&self, proxy: &str, test: &str) -> usize {
        self.failures
            .get(&format!("{proxy}, {test}"))
            .map_or(0, Vec::len)
    }

    fn values(&self, test: &str, figure: &str, proxy: &str) -> Option<&[Option<f64>]> {
        let values = self.tests.get(test)?.get(figure)?.get(proxy)?;
        Some(values)
    }

    pub(crate) fn median(&self, test: &str, figure: &str, proxy: &str) -> Option<f64> {
        median(self.values(test, figure, proxy)?.iter().copied().flatten())
    }

    /// The median of the rounds' ratios.
    pub(crate) fn ratio(&self, test: &str, figure: &str, proxy: &str, to: &str) -> Option<f64> {
        self.ratio_of((test, proxy), (test, to), figure)
    }

    /// The same of two tests.
    pub(crate) fn ratio_of(
        &self,
        (test, proxy): (&str, &str),
        (to_test, to): (&str, &str),
        figure: &str,
    ) -> Option<f64> {
        let values = self.values(test, figure, proxy)?.iter();
        let others = self.values(to_test, figure, to)?;
        median(values.zip(others).filter_map(|(a, b)| Some((*a)? / (*b)?)))
    }

    /// In this order of roles.
    pub(crate) fn names(&self, roles: &[Role]) -> Vec<&str> {
        let names = roles.iter().flat_map(|role| {
            let names = self.proxies.iter().map(String::as_str);
            names.filter(|name| Role::of(name) == *role)
        });
        names.collect()
    }

    /// All proxies but ours.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &str> {
        let names = self.names(&[Role::Proxy]).into_iter();
        names.filter(|name| !name.starts_with("ours"))
    }

    /// The peer whose median is the highest of rates, the lowest of the rest.
    pub(crate) fn best_peer(&self, test: &str, figure: &str) -> Option<&str> {
        // They are as many as there may be.
        if figure == "tunnels" {
            return None;
        }
        let medians = self.peers().filter_map(|peer| {
            let median = self.median(test, figure, peer)?;
            Some((if is_rate(figure) { -median } else { median }, peer))
        });
        let best = medians.min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(best.1)
    }
}

/// Of rates more is better, of all else less.
pub(crate) fn is_rate(figure: &str) -> bool {
    let (unit, _) = figure.split_once(',').unwrap_or((figure, ""));
    unit.ends_with("/s")
}

/// Three digits that say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(half).copied(),
        _ => Some((values.get(half.checked_sub(1)?)? + values.get(half)?) / 2.0),
    }
}

fn date() -> Result<String> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    Ok(String::from_utf8(date.stdout)?.trim().to_owned())
}

fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or("unknown CPU")
        .trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} cores of {model}, Linux {}", kernel.trim()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn report() -> Report {
        Report {
            date: String::new(),
            machine: String::new(),
            rounds: 3,
            seconds: 1.0,
            proxies: ["ours", "b", "limit-copy", "bare", "all", "limited"]
                .map(str::to_owned)
                .to_vec(),
            tests: BTreeMap::new(),
            failures: BTreeMap::new(),
            syscalls: Vec::new(),
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_skips_those_that_failed() {
        let mut report = report();
        // The machine was three times as slow in the last round, for both.
        for (round, (ours, other)) in [(1.0, 2.0), (1.5, 2.0), (3.75, 6.0)]
            .into_iter()
            .enumerate()
        {
            report.add("ours", "idle", round, &Figures::from([("x", ours)]));
            report.add("b", "idle", round, &Figures::from([("x", other)]));
        }
        assert_eq!(report.ratio("idle", "x", "ours", "b"), Some(0.625));
        assert_eq!(report.median("idle", "x", "ours"), Some(1.5));

        // It failed in round 3, and is not compared with what others did then.
        report.add("b", "idle", 3, &Figures::from([("x", 1.0)]));
        report.add("ours", "idle", 4, &Figures::from([("x", 9.0)]));
        assert_eq!(report.ratio("idle", "x", "ours", "b"), Some(0.625));
        assert_eq!(report.ratio("idle", "x", "ours", "limit-copy"), None);
    }

    #[test]
    fn the_best_has_the_highest_rate_and_the_lowest_cost() {
        let mut report = report();
        report.proxies.push("c".to_owned());
        for (proxy, value) in [("ours", 9.0), ("b", 1.0), ("c", 2.0), ("limit-copy", 0.1)] {
            let figures = ["GiB/s", "GiB/s, worst", "CPU s/GiB", "p99 µs", "tunnels"];
            let figures = figures.map(|figure| (figure, value));
            report.add(proxy, "idle", 0, &Figures::from(figures));
        }
        for (figure, best) in [
            ("GiB/s", Some("c")),
            ("GiB/s, worst", Some("c")),
            ("CPU s/GiB", Some("b")),
            ("p99 µs", Some("b")),
            ("tunnels", None),
        ] {
            assert_eq!(report.best_peer("idle", figure), best, "{figure}");
        }
    }

    #[test]
    fn floors_and_ours_are_no_peers() {
        assert_eq!(report().peers().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
