//! Bars of the proxies' rates, times and costs, ours as the measure.

use std::{fmt::Write as _, fs, iter, path::Path};

use anyhow::Result;

use crate::{
    report::{Report, number},
    targets::OURS,
};

/// Two panels that share their rows.
struct Block {
    titles: [&'static str; 2],
    /// Where bars end, in multiples of ours; the number says the rest.
    most: [f64; 2],
    rows: &'static [Row],
}

struct Row {
    test: &'static str,
    title: &'static str,
    /// For each panel the figure and its unit.
    figures: [Option<(&'static str, &'static str)>; 2],
}

const fn row(
    test: &'static str,
    title: &'static str,
    left: Option<(&'static str, &'static str)>,
    right: (&'static str, &'static str),
) -> Row {
    Row {
        test,
        title,
        figures: [left, Some(right)],
    }
}

const RATE: Option<(&str, &str)> = Some(("GiB/s", " GiB/s"));
const COST: (&str, &str) = ("CPU s/GiB", " s/GiB");
const P50: Option<(&str, &str)> = Some(("p50 µs", " µs"));
const P99: (&str, &str) = ("p99 µs", " µs");

const BLOCKS: [Block; 2] = [
    Block {
        titles: [
            "Rate: longer is better",
            "CPU for the same work: shorter is better",
        ],
        most: [2.0, 4.0],
        rows: &[
            row("bulk-1-down", "bulk, 1 tunnel, down", RATE, COST),
            row("bulk-64-down", "bulk, 64 tunnels, down", RATE, COST),
            row("bulk-64-up", "… up", RATE, COST),
            row("bulk-64-both", "… both ways", RATE, COST),
            row(
                "setup-64",
                "connections, 64 at once",
                Some(("connections/s", "/s")),
                ("CPU µs/connection", " µs"),
            ),
            row(
                "pingpong-100",
                "ping-pong, 100 tunnels",
                Some(("round trips/s", "/s")),
                ("CPU µs/round trip", " µs"),
            ),
            row(
                "udp-32",
                "UDP, 32 in flight",
                Some(("datagrams/s", "/s")),
                ("CPU µs/datagram", " µs"),
            ),
            row(
                "idle",
                "an idle tunnel: memory",
                None,
                ("bytes/tunnel", " bytes"),
            ),
        ],
    },
    Block {
        titles: [
            "Round trip, median: shorter is better",
            "Round trip, 99th percentile: shorter is better",
        ],
        most: [4.0, 4.0],
        rows: &[
            row("pingpong-100", "ping-pong, 100 tunnels", P50, P99),
            row("beside-4", "… 10, beside 4 of bulk", P50, P99),
            row("beside-64", "… 10, beside 64 of bulk", P50, P99),
        ],
    },
];

const WIDTH: f64 = 920.0;
/// Where the panels begin, and how long a bar can be.
const PANELS: [f64; 2] = [165.0, 555.0];
const LENGTH: f64 = 280.0;
const BAR: f64 = 8.0;
const PITCH: f64 = 10.5;
/// On light ground and on dark.
const COLOURS: [(&str, &str); 8] = [
    ("#1f5fd0", "#5aa2ff"),
    ("#d1731a", "#e8964a"),
    ("#2f9457", "#4cbb79"),
    ("#8056c4", "#a98be0"),
    ("#c43c55", "#e8697f"),
    ("#6d7a88", "#93a1b0"),
    ("#1592a3", "#36b9c9"),
    ("#9a8212", "#c7ad35"),
];

pub(crate) fn draw(result: &Path, out: &Path) -> Result<()> {
    let report = Report::read(result)?;
    let proxies: Vec<_> = iter::once(OURS).chain(report.peers()).collect();
    let mut body = legend(&proxies);
    let mut y = 66.0;
    for block in &BLOCKS {
        let (bars, bottom) = bars(&report, &proxies, block, y + 16.0);
        if bars.is_empty() {
            continue;
        }
        for ((x, title), most) in PANELS.iter().zip(block.titles).zip(block.most) {
            let one = x + LENGTH / most;
            let _ = writeln!(
                body,
                r#"<text class="t" x="{x}" y="{y}">{title}</text><line x1="{one}" y1="{}" x2="{one}" y2="{bottom:.1}"/>"#,
                y + 10.0
            );
        }
        body += &bars;
        y = bottom + 26.0;
    }
    fs::write(out, page(&report, &body, y))?;
    Ok(())
}

fn page(report: &Report, body: &str, bottom: f64) -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (at, (on_light, on_dark)) in COLOURS.iter().enumerate() {
        let _ = write!(light, " .c{at} {{ fill: {on_light} }}");
        let _ = write!(dark, " .c{at} {{ fill: {on_dark} }}");
    }
    let Report {
        date,
        machine,
        rounds,
        ..
    } = report;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {:.0}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Rates, times and CPU of each proxy; ours is 1">
<style>text {{ fill: #24292f }} .t {{ font-weight: 600 }} .n {{ font-size: 9.5px }} .o {{ font-size: 9.5px; font-weight: 600 }} .f {{ font-size: 10px; opacity: .75 }} line {{ stroke: #24292f; opacity: .4; stroke-dasharray: 3 3 }}{light}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} line {{ stroke: #e6edf3 }}{dark} }}</style>
{body}<text class="f" x="{}" y="{bottom:.0}">{date}, {machine}, {rounds} rounds. Ours is 1 (dashed), with what it is; bars with a gap go on.</text>
</svg>
"##,
        bottom + 12.0,
        PANELS[0],
    )
}

fn legend(proxies: &[&str]) -> String {
    let mut text = String::new();
    let mut x = PANELS[0];
    for (at, proxy) in proxies.iter().enumerate() {
        let colour = at % COLOURS.len();
        let _ = writeln!(
            text,
            r#"<rect class="c{colour}" x="{x:.0}" y="20" width="11" height="11" rx="2"/><text x="{:.0}" y="30">{proxy}</text>"#,
            x + 16.0
        );
        x += 40.0 + 6.6 * proxy.len() as f64;
    }
    text
}

/// The bars of a block, and where they end.
fn bars(report: &Report, proxies: &[&str], block: &Block, mut y: f64) -> (String, f64) {
    let mut text = String::new();
    for row in block.rows {
        let ratio = |proxy: &str, figure: &str| report.ratio(row.test, figure, proxy, OURS);
        let figures = || row.figures.iter().flatten();
        let there = proxies.iter().enumerate();
        let there = there.filter(|(_, proxy)| figures().any(|it| ratio(proxy, it.0).is_some()));
        let there: Vec<_> = there.collect();
        if there.is_empty() {
            continue;
        }
        let height = there.len() as f64 * PITCH;
        let _ = writeln!(
            text,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            PANELS[0] - 10.0,
            y + height / 2.0 + 4.0,
            row.title
        );
        for (at, proxy) in there {
            for ((x, most), figure) in PANELS.iter().zip(block.most).zip(row.figures) {
                let Some((figure, unit)) = figure else {
                    continue;
                };
                let Some(ratio) = ratio(proxy, figure) else {
                    continue;
                };
                let (class, says) = match report.median(row.test, figure, proxy) {
                    Some(value) if *proxy == OURS => ("o", absolute(value, unit)),
                    _ => ("n", number(ratio)),
                };
                let (path, end) = bar(*x, y, ratio * LENGTH / most);
                let _ = writeln!(
                    text,
                    r#"<path class="c{}" d="{path}"/><text class="{class}" x="{:.1}" y="{:.1}">{says}</text>"#,
                    at % COLOURS.len(),
                    end + 5.0,
                    y + BAR - 0.5
                );
            }
            y += PITCH;
        }
        y += 11.0;
    }
    (text, y - 6.0)
}

/// The outline of a bar, and where it ends. One that is too long has a gap
/// before its end.
fn bar(x: f64, y: f64, length: f64) -> (String, f64) {
    if length <= LENGTH {
        return (format!("M{x} {y:.1}h{length:.1}v{BAR}H{x}z"), x + length);
    }
    let (gap, end) = (x + LENGTH - 14.0, x + LENGTH);
    let path = format!(
        "M{x} {y:.1}H{}l-4 {BAR}H{x}zM{} {y:.1}H{end}v{BAR}H{}z",
        gap + 2.0,
        gap + 6.0,
        gap + 2.0
    );
    (path, end)
}

fn absolute(value: f64, unit: &str) -> String {
    match unit {
        "/s" if value >= 1e4 => format!("{}k/s", number(value / 1e3)),
        " µs" if value >= 1e3 => format!("{} ms", number(value / 1e3)),
        _ => format!("{}{unit}", number(value)),
    }
}
