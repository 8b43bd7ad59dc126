//! How ours stands to the best peer of each test.

use std::fmt::Write as _;

use crate::{
    load::TESTS,
    report::{Report, is_rate, number},
    targets::{OURS, Verdict},
};

/// Of tests whose names begin so, what must be at most so many times the best
/// peer's; of rates, at least.
const JUDGED: [(&str, &str, f64); 12] = [
    ("bulk-", "GiB/s", 1.0),
    ("bulk-", "CPU s/GiB", 1.0),
    ("setup-", "connections/s", 1.0),
    ("setup-", "CPU µs/connection", 0.9),
    ("pingpong-", "CPU µs/round trip", 1.0),
    ("pingpong-", "p50 µs", 1.0),
    ("beside-", "p50 µs", 1.0),
    ("beside-", "p99 µs", 1.0),
    ("udp-", "datagrams/s", 1.0),
    ("udp-", "CPU µs/datagram", 1.0),
    ("udp-", "lost %", 1.0),
    ("starts-", "GiB/s, median", 1.0),
];

const COLUMNS: [&str; 5] = ["rate", "CPU", "p50", "p99", "lost"];

fn column(figure: &str) -> &str {
    match figure {
        rate if is_rate(rate) => "rate",
        other => other.split(' ').next().unwrap_or(other),
    }
}

/// A row for each test of ours that a peer has done as well.
pub(crate) fn table(report: &Report) -> Option<String> {
    let (mut rows, mut missed) = (String::new(), Vec::new());
    let mut count = 0;
    for (test, _) in TESTS {
        let judged = JUDGED.iter().filter(|it| test.starts_with(it.0));
        let cells = judged.filter_map(|(_, figure, factor)| {
            let (text, verdict) = judge(report, test, figure, *factor)?;
            Some((column(figure), text, verdict))
        });
        let cells: Vec<_> = cells.collect();
        let Some(verdict) = cells.iter().map(|cell| cell.2).max() else {
            continue;
        };
        count += 1;
        if verdict == Verdict::Missed {
            missed.push(test);
        }
        let _ = write!(rows, "| {test} |");
        for column in COLUMNS {
            let cell = cells.iter().find(|cell| cell.0 == column);
            let _ = write!(rows, " {} |", cell.map_or("", |cell| &cell.1));
        }
        let _ = writeln!(rows, " {} |", verdict.word());
    }
    (count > 0).then(|| {
        format!(
            "Ours to the best peer of each test: rates are to be at least its, the rest at most, CPU of set-up 0.9 of it.\nRows missed: {} of {count}{}\n\n| test | {} | |\n|---|{}---|\n{rows}",
            missed.len(),
            match missed.is_empty() {
                true => ".".to_owned(),
                false => format!(": {}.", missed.join(", ")),
            },
            COLUMNS.join(" | "),
            "---|".repeat(COLUMNS.len()),
        )
    })
}

fn judge(report: &Report, test: &str, figure: &str, factor: f64) -> Option<(String, Verdict)> {
    let best = report.best_peer(test, figure)?;
    let (text, verdict) = match column(figure) {
        // Of nothing, nothing is a part.
        "lost" => {
            let ours = report.median(test, figure, OURS)?;
            let best_peers = report.median(test, figure, best)?;
            (
                format!("{}, {best} {}", number(ours), number(best_peers)),
                Verdict::of(figure, ours - best_peers),
            )
        }
        _ => {
            let ratio = report.ratio(test, figure, OURS, best)?;
            let short = match is_rate(figure) {
                true => 1.0 - ratio / factor,
                false => ratio / factor - 1.0,
            };
            (format!("{ratio:.2} of {best}"), Verdict::of(figure, short))
        }
    };
    Some(match verdict {
        Verdict::Met => (text, verdict),
        Verdict::Tie => (format!("{text} (a tie)"), verdict),
        Verdict::Missed => (format!("**{text}**"), verdict),
    })
}

#[cfg(test)]
mod tests {
    use crate::{report::tests::report, window::Figures};

    #[test]
    fn a_row_is_missed_that_falls_short_in_anything_but_rates_by_little() {
        let mut report = report();
        report.proxies.push("c".to_owned());
        let mut add = |test, figure, [ours, b, c]: [f64; 3]| {
            for (proxy, value) in [("ours", ours), ("b", b), ("c", c)] {
                report.add(proxy, test, 0, &Figures::from([(figure, value)]));
            }
        };
        add("bulk-1-up", "GiB/s", [3.0, 4.0, 2.0]);
        add("bulk-1-up", "CPU s/GiB", [0.2, 0.5, 0.4]);
        add("bulk-64-up", "GiB/s", [2.0, 4.0, 2.0]);
        add("setup-1", "CPU µs/connection", [95.0, 100.0, 120.0]);
        add("pingpong-1", "p50 µs", [102.0, 150.0, 100.0]);
        add("udp-1", "lost %", [0.0, 0.0, 3.0]);
        add("udp-32", "lost %", [1.0, 2.0, 0.5]);

        let text = super::table(&report).unwrap();

        for line in [
            "Rows missed: 4 of 6: bulk-64-up, setup-1, pingpong-1, udp-32.",
            "| bulk-1-up | 0.75 of b (a tie) | 0.50 of c |  |  |  | met (a tie) |",
            "| bulk-64-up | **0.50 of b** |  |  |  |  | **missed** |",
            "| setup-1 |  | **0.95 of b** |  |  |  | **missed** |",
            "| pingpong-1 |  |  | **1.02 of c** |  |  | **missed** |",
            "| udp-1 |  |  |  |  | 0.00, b 0.00 | met |",
            "| udp-32 |  |  |  |  | **1.00, c 0.50** | **missed** |",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
