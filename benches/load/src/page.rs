//! A report as JSON and as a page of tables.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::Result;

use crate::{
    load::{Load, TESTS},
    proxy::Role,
    report::{Report, number},
    standing, strace, targets,
};

/// Whom ratios of a test's figure are to.
type Best = for<'a> fn(&'a Report, &str, &str) -> Option<&'a str>;

const TABLES: [(&str, &[Role], Best); 3] = [
    (
        "All figures: the best peer's are bold, and in brackets are the ratios to it.",
        &[Role::Proxy, Role::Floor],
        Report::best_peer,
    ),
    (
        "Every middleware on, but TLS, the PROXY protocol and HTTP; in brackets the ratio to none.",
        &[Role::Middleware],
        |_, _, _| Some("bare"),
    ),
    (
        "A limit of 10 MB/s for all tunnels together.",
        &[Role::Limited],
        |_, _, _| None,
    ),
];

impl Report {
    pub(crate) fn write(&self, out: &Path) -> Result<()> {
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(
            out.with_extension("json"),
            serde_json::to_string_pretty(self)?,
        )?;
        fs::write(out.with_extension("md"), self.markdown())?;
        Ok(())
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "{}, {}, {} rounds of {} s. Medians; in brackets the median of the rounds' ratios.\n",
            self.date, self.machine, self.rounds, self.seconds
        );
        for table in [standing::table(self), targets::table(self)] {
            text.extend(table.map(|table| format!("\n{table}")));
        }
        for (title, roles, best) in TABLES {
            if let Some(table) = self.table(roles, best) {
                let _ = write!(text, "\n{title}\n{table}");
            }
        }
        if !self.syscalls.is_empty() {
            let _ = write!(text, "\n{}", strace::table(&self.syscalls));
        }
        for ((proxy, errors), tests) in self.failures_alike() {
            let _ = writeln!(text, "\n- {proxy}, {}: {errors}", tests.join(", "));
        }
        text
    }

    /// The tests that failed, by proxy and what went wrong.
    fn failures_alike(&self) -> BTreeMap<(&str, String), Vec<&str>> {
        let mut alike: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (of, errors) in &self.failures {
            let (proxy, test) = of.split_once(", ").unwrap_or((of, ""));
            let tests = alike.entry((proxy, errors.join("; "))).or_default();
            tests.push(test);
        }
        alike
    }

    /// The proxies of some roles beside one another, if they did anything.
    fn table(&self, roles: &[Role], best: Best) -> Option<String> {
        let proxies = self.names(roles);
        let rule = "---:|".repeat(proxies.len());
        let names = proxies.join(" | ");
        let mut rows = String::new();
        let is_for = |load: &Load| roles.iter().any(|role| load.is_for(*role));
        for (test, _) in TESTS.iter().filter(|(_, load)| is_for(load)) {
            let figures = self.tests.get(*test).into_iter().flatten();
            for (figure, of_proxies) in figures {
                if !proxies.iter().any(|it| of_proxies.contains_key(*it)) {
                    continue;
                }
                let best = best(self, test, figure);
                let cells = proxies
                    .iter()
                    .map(|proxy| self.cell(test, figure, proxy, best));
                let cells = cells.collect::<Vec<_>>().join(" | ");
                let _ = writeln!(rows, "| {test} | {figure} | {cells} |");
            }
        }
        (!rows.is_empty())
            .then(|| format!("\n| test | figure | {names} |\n|---|---|{rule}\n{rows}"))
    }

    fn cell(&self, test: &str, figure: &str, proxy: &str, best: Option<&str>) -> String {
        let Some(value) = self.median(test, figure, proxy) else {
            return "–".to_owned();
        };
        let value = number(value);
        if best == Some(proxy) {
            return format!("**{value}**");
        }
        let ratio = best.and_then(|best| self.ratio(test, figure, proxy, best));
        let ratio = ratio.filter(|ratio| ratio.is_finite());
        let ratio = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
        format!("{value}{ratio}")
    }
}

#[cfg(test)]
mod tests {
    use crate::{report::tests::report, window::Figures};

    #[test]
    fn each_role_has_a_table_of_its_own() {
        let mut report = report();
        for (proxy, cpu) in [("ours", 2.0), ("b", 4.0), ("bare", 10.0), ("all", 11.0)] {
            let figures = Figures::from([("CPU µs/connection", cpu)]);
            report.add(proxy, "setup-64", 0, &figures);
        }
        let figures = Figures::from([("deviation %", 6.0)]);
        report.add("limited", "limit-10MB-1", 0, &figures);

        let text = report.markdown();

        for line in [
            "| test | figure | ours | b | limit-copy |",
            "| setup-64 | CPU µs/connection | 2.00 (0.50) | **4.00** | – |",
            "| test | figure | bare | all |",
            "| setup-64 | CPU µs/connection | **10.0** | 11.0 (1.10) |",
            "| test | figure | limited |",
            "| limit-10MB-1 | deviation % | 6.00 |",
            "| all | setup-64 | CPU µs/connection | at most 1.15 of bare | 1.10 | met |",
            "| limited | limit-10MB-1 | deviation % | at most 5.00 | 6.00 | **missed** |",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
