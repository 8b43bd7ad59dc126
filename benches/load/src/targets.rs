//! What must be reached, and whether it is.

use std::fmt::Write as _;

use crate::report::{Report, number};

const OURS: &str = "ours";

enum Bound {
    /// At most so many times what another needs.
    OfOther(&'static str, f64),
    /// At least what each peer reaches.
    EveryPeer,
    /// At most so much.
    AtMost(f64),
    /// At most so many system calls a unit.
    Calls(f64),
}

const CPU_BULK: &str = "CPU s/GiB";
const CPU_SETUP: &str = "CPU µs/connection";
const DEVIATION: &str = "deviation %";
const CPU_PINGPONG: &str = "CPU µs/round trip";

const TARGETS: [(&str, &str, Bound); 26] = [
    (
        "bulk-64-down",
        CPU_BULK,
        Bound::OfOther("limit-splice", 1.2),
    ),
    ("bulk-64-up", CPU_BULK, Bound::OfOther("limit-splice", 1.2)),
    ("bulk-1-down", CPU_BULK, Bound::OfOther("limit-splice", 1.1)),
    ("bulk-1-up", CPU_BULK, Bound::OfOther("limit-splice", 1.1)),
    ("bulk-64-down", "GiB/s", Bound::EveryPeer),
    ("bulk-64-up", "GiB/s", Bound::EveryPeer),
    ("bulk-1-down", "GiB/s", Bound::EveryPeer),
    ("bulk-1-up", "GiB/s", Bound::EveryPeer),
    ("setup-64", CPU_SETUP, Bound::OfOther("fast-socks5", 0.9)),
    ("setup-512", CPU_SETUP, Bound::OfOther("fast-socks5", 0.9)),
    (
        "setup-64-password",
        CPU_SETUP,
        Bound::OfOther("fast-socks5", 0.9),
    ),
    (
        "setup-512-password",
        CPU_SETUP,
        Bound::OfOther("fast-socks5", 0.9),
    ),
    ("setup-1", "system calls", Bound::Calls(31.0)),
    ("setup-64", "system calls", Bound::Calls(25.0)),
    ("setup-1", "connections/s", Bound::EveryPeer),
    ("setup-64", "connections/s", Bound::EveryPeer),
    ("setup-512", "connections/s", Bound::EveryPeer),
    (
        "pingpong-1",
        CPU_PINGPONG,
        Bound::OfOther("fast-socks5", 1.0),
    ),
    (
        "pingpong-100",
        CPU_PINGPONG,
        Bound::OfOther("fast-socks5", 1.0),
    ),
    ("pingpong-1", "p50 µs", Bound::OfOther("fast-socks5", 1.0)),
    ("pingpong-100", "p50 µs", Bound::OfOther("fast-socks5", 1.0)),
    ("idle", "bytes/tunnel", Bound::AtMost(2.3 * 1024.0)),
    // A pipe or two that are kept for all do not count.
    ("idle", "descriptors/tunnel", Bound::AtMost(2.05)),
    (
        "udp",
        "CPU µs/datagram",
        Bound::OfOther("fast-socks5", 0.55),
    ),
    ("udp", "system calls", Bound::Calls(0.5)),
    ("udp", "datagrams/s", Bound::EveryPeer),
];

/// What middleware may cost, and how well a limit must hold.
const OF_MIDDLEWARE: [(&str, &str, &str, Bound); 4] = [
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

enum Verdict {
    Met,
    /// Missed by less than chance may bring about.
    Tie,
    Missed,
}

impl Verdict {
    /// `short`: by what part of the target `figure` falls short of it.
    fn of(figure: &str, short: f64) -> Self {
        // Rates and times are the scheduler's as well; costs and counts are not.
        let tie = match figure {
            "GiB/s" => 0.4,
            "connections/s" | "datagrams/s" | "p50 µs" => 0.2,
            _ => 0.0,
        };
        match short {
            short if short <= 0.0 => Self::Met,
            short if short < tie => Self::Tie,
            _ => Self::Missed,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Tie => "met (a tie)",
            Self::Missed => "**missed**",
        }
    }
}

/// A row for each target that something is known about.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::from(
        "| proxy | test | figure | target | reached | |\n|---|---|---|---|---:|---|\n",
    );
    let of_ours = TARGETS
        .iter()
        .map(|(test, figure, bound)| (OURS, test, figure, bound));
    let of_middleware = OF_MIDDLEWARE
        .iter()
        .map(|(proxy, test, figure, bound)| (*proxy, test, figure, bound));
    for (proxy, test, figure, bound) in of_ours.chain(of_middleware) {
        let Some((target, reached, met)) = judge(report, proxy, test, figure, bound) else {
            continue;
        };
        let met = met.word();
        let _ = writeln!(
            text,
            "| {proxy} | {test} | {figure} | {target} | {reached} | {met} |"
        );
    }
    text
}

fn judge(
    report: &Report,
    proxy: &str,
    test: &str,
    figure: &str,
    bound: &Bound,
) -> Option<(String, String, Verdict)> {
    Some(match *bound {
        Bound::OfOther(other, most) => {
            let ratio = report.ratio(test, figure, proxy, other)?;
            (
                format!("at most {most} of {other}"),
                format!("{ratio:.2}"),
                Verdict::of(figure, ratio / most - 1.0),
            )
        }
        Bound::EveryPeer => {
            let ratios = report.peers().filter_map(|peer| {
                let ratio = report.ratio(test, figure, proxy, peer)?;
                Some((ratio, peer))
            });
            let (least, best) = ratios.min_by(|a, b| a.0.total_cmp(&b.0))?;
            (
                "at least every peer's".to_owned(),
                format!("{least:.2} of {best}"),
                Verdict::of(figure, 1.0 - least),
            )
        }
        Bound::AtMost(most) => {
            let value = report.median(test, figure, proxy)?;
            (
                format!("at most {}", number(most)),
                number(value),
                Verdict::of(figure, value / most - 1.0),
            )
        }
        Bound::Calls(most) => {
            let calls = report
                .syscalls
                .iter()
                .find(|it| it.proxy == proxy && it.test == test)?;
            // What is done now and then is not of the connection.
            let value = calls.each;
            (
                format!("at most {most}"),
                format!("{value:.2}"),
                Verdict::of(figure, value / most - 1.0),
            )
        }
    })
}
