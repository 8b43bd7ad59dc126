//! Bars of the proxies' CPU for the same work, ours as the measure.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;

use crate::report::Report;

const ROWS: [(&str, &str, &str); 8] = [
    ("bulk-1-down", "CPU s/GiB", "bulk, 1 tunnel"),
    ("bulk-64-down", "CPU s/GiB", "bulk, 64 tunnels, down"),
    ("bulk-64-up", "CPU s/GiB", "bulk, 64 tunnels, up"),
    ("setup-64", "CPU µs/connection", "connections, 64 at once"),
    (
        "setup-64-password",
        "CPU µs/connection",
        "… with a password",
    ),
    (
        "pingpong-100",
        "CPU µs/round trip",
        "ping-pong, 100 tunnels",
    ),
    ("udp", "CPU µs/datagram", "UDP datagrams"),
    ("idle", "bytes/tunnel", "memory of an idle tunnel"),
];

const OURS: &str = "ours";
const LEFT: f64 = 190.0;
const WIDTH: f64 = 760.0;
const BAR: f64 = 11.0;
/// Bars end here, in multiples of ours; the number says the rest.
const MOST: f64 = 6.0;
const COLOURS: [&str; 6] = [
    "#2f6fdb", "#d9822b", "#8a63c9", "#3a9d5d", "#c9445b", "#7d8a97",
];

pub(crate) fn draw(result: &Path, out: &Path) -> Result<()> {
    let report = Report::read(result)?;
    let proxies: Vec<_> = std::iter::once(OURS).chain(report.peers()).collect();
    let unit = (WIDTH - LEFT - 60.0) / MOST;
    let mut bars = String::new();
    let mut y = 58.0;
    for (test, figure, title) in ROWS {
        let ratios = proxies.iter().enumerate().filter_map(|(at, proxy)| {
            let ratio = report.ratio(test, figure, proxy, OURS)?;
            Some((at, ratio))
        });
        let ratios: Vec<_> = ratios.collect();
        if ratios.is_empty() {
            continue;
        }
        let middle = y + ratios.len() as f64 * (BAR + 1.0) / 2.0 + 4.0;
        let x = LEFT - 10.0;
        let _ = writeln!(
            bars,
            r#"<text x="{x}" y="{middle:.0}" text-anchor="end">{title}</text>"#
        );
        for (at, ratio) in ratios {
            let long = ratio.min(MOST) * unit;
            let colour = COLOURS[at % COLOURS.len()];
            let end = LEFT + long + 5.0;
            let base = y + BAR - 2.0;
            let _ = writeln!(
                bars,
                r#"<rect x="{LEFT}" y="{y:.0}" width="{long:.1}" height="{BAR}" rx="2" fill="{colour}"/><text class="n" x="{end:.0}" y="{base:.0}">{ratio:.2}</text>"#
            );
            y += BAR + 1.0;
        }
        y += 12.0;
    }
    let mut legend = String::new();
    let mut x = LEFT;
    for (at, proxy) in proxies.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let _ = writeln!(
            legend,
            r#"<rect x="{x:.0}" y="30" width="10" height="10" rx="2" fill="{colour}"/><text x="{:.0}" y="39">{proxy}</text>"#,
            x + 15.0
        );
        x += 30.0 + 7.5 * proxy.len() as f64;
    }
    let one = LEFT + unit;
    let bottom = y - 4.0;
    let height = y + 22.0;
    let foot = y + 14.0;
    let Report { date, machine, .. } = &report;
    let svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="CPU of each proxy for the same work, ours is 1">
<style>text {{ fill: #24292f }} .n {{ font-size: 10px }} .f {{ font-size: 10px; opacity: .7 }} line {{ stroke: #24292f; opacity: .35 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} line {{ stroke: #e6edf3 }} }}</style>
<text x="{LEFT}" y="18" font-weight="600">CPU for the same work (memory, in the last row); ours is 1, shorter is better</text>
{legend}<line x1="{one:.1}" y1="50" x2="{one:.1}" y2="{bottom:.0}" stroke-dasharray="3 3"/>
{bars}<text class="f" x="{LEFT}" y="{foot:.0}">{date}, {machine}, {} rounds</text>
</svg>
"##,
        report.rounds
    );
    fs::write(out, svg)?;
    Ok(())
}
