//! What must be reached by itself, and whether it is.

use std::fmt::Write as _;

use crate::report::{Report, is_rate, number};

pub(crate) const OURS: &str = "ours";

enum Bound {
    /// At most so many times what another needs.
    OfOther(&'static str, f64),
    /// At most so many times what it needs in another test.
    OfTest(&'static str, f64),
    /// At most so much.
    AtMost(f64),
    /// At most so many system calls a unit.
    Calls(f64),
}

const CPU_BULK: &str = "CPU s/GiB";
const CPU_SETUP: &str = "CPU µs/connection";
const DEVIATION: &str = "deviation %";
const CALLS: &str = "system calls";

const TARGETS: [(&str, &str, &str, Bound); 14] = [
    (OURS, "bulk-64-down", CPU_BULK, SPLICE_64),
    (OURS, "bulk-64-up", CPU_BULK, SPLICE_64),
    (OURS, "bulk-1-down", CPU_BULK, SPLICE_1),
    (OURS, "bulk-1-up", CPU_BULK, SPLICE_1),
    (OURS, "setup-1", CALLS, Bound::Calls(31.0)),
    (OURS, "setup-64", CALLS, Bound::Calls(25.0)),
    (OURS, "udp-32", CALLS, Bound::Calls(0.5)),
    (OURS, "idle", "bytes/tunnel", Bound::AtMost(1.2 * 1024.0)),
    // A pipe or two that are kept for all do not count.
    (OURS, "idle", "descriptors/tunnel", Bound::AtMost(2.05)),
    (
        OURS,
        "growth-3000",
        "CPU µs/round trip",
        Bound::OfTest("growth-100", 1.1),
    ),
    // What middleware may cost, and how well a limit must hold.
    ("all", "setup-64", CPU_SETUP, Bound::OfOther("bare", 1.15)),
    (
        "all",
        "setup-64-password",
        CPU_SETUP,
        Bound::OfOther("bare", 1.15),
    ),
    ("limited", "limit-10MB-1", DEVIATION, Bound::AtMost(5.0)),
    ("limited", "limit-10MB-50", DEVIATION, Bound::AtMost(5.0)),
];

const SPLICE_64: Bound = Bound::OfOther("limit-splice", 1.2);
const SPLICE_1: Bound = Bound::OfOther("limit-splice", 1.1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Met,
    /// Missed by less than chance may bring about.
    Tie,
    Missed,
}

impl Verdict {
    /// `short`: by what part of the target `figure` falls short of it.
    pub(crate) fn of(figure: &str, short: f64) -> Self {
        // Rates are the scheduler's as well; costs, times and counts do not tie.
        let tie = match is_rate(figure) {
            true if figure.starts_with("GiB/s") => 0.4,
            true => 0.2,
            false => 0.0,
        };
        match short {
            short if short <= 0.0 => Self::Met,
            short if short < tie => Self::Tie,
            _ => Self::Missed,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Tie => "met (a tie)",
            Self::Missed => "**missed**",
        }
    }
}

/// A row for each target that something is known about.
pub(crate) fn table(report: &Report) -> Option<String> {
    let mut rows = String::new();
    for (proxy, test, figure, bound) in &TARGETS {
        let Some((target, reached, short)) = judge(report, proxy, test, figure, bound) else {
            continue;
        };
        let met = Verdict::of(figure, short).word();
        let _ = writeln!(
            rows,
            "| {proxy} | {test} | {figure} | at most {target} | {reached} | {met} |"
        );
    }
    (!rows.is_empty()).then(|| {
        format!(
            "| proxy | test | figure | target | reached | |\n|---|---|---|---|---:|---|\n{rows}"
        )
    })
}

/// The bound, what was reached, and by what part it falls short.
fn judge(
    report: &Report,
    proxy: &str,
    test: &str,
    figure: &str,
    bound: &Bound,
) -> Option<(String, String, f64)> {
    let part = |of: &str, ratio: f64, most: f64| {
        (
            format!("{most} of {of}"),
            format!("{ratio:.2}"),
            ratio / most - 1.0,
        )
    };
    Some(match *bound {
        Bound::OfOther(other, most) => part(other, report.ratio(test, figure, proxy, other)?, most),
        Bound::OfTest(other, most) => {
            let ratio = report.ratio_of((test, proxy), (other, proxy), figure)?;
            part(other, ratio, most)
        }
        Bound::AtMost(most) => {
            let value = report.median(test, figure, proxy)?;
            (number(most), number(value), value / most - 1.0)
        }
        Bound::Calls(most) => {
            let mut calls = report.syscalls.iter();
            let calls = calls.find(|it| it.proxy == proxy && it.test == test)?;
            let value = calls.each;
            (most.to_string(), format!("{value:.2}"), value / most - 1.0)
        }
    })
}
