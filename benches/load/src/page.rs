//! A report as JSON and as a page of tables.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use anyhow::Result;

use crate::{
    load::TESTS,
    proxy::Role,
    report::{Report, number},
    strace, targets,
};

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
            "{}, {}, {} rounds of {} s. Medians; in brackets the median of the rounds' ratios to {}.\n",
            self.date, self.machine, self.rounds, self.seconds, self.baseline
        );
        if self.names(Role::Proxy).count() > 0 {
            text += &self.table(Role::Proxy, &self.baseline);
        }
        if self.names(Role::Middleware).count() > 0 {
            text += "\nEvery middleware on, but TLS, the PROXY protocol and HTTP; in brackets the ratio to none.\n";
            text += &self.table(Role::Middleware, "bare");
        }
        if self.names(Role::Limited).count() > 0 {
            text += "\nA limit of 10 MB/s for all tunnels together.\n";
            text += &self.table(Role::Limited, "limited");
        }
        if !self.syscalls.is_empty() {
            let _ = write!(text, "\n{}", strace::table(&self.syscalls));
        }
        let _ = write!(text, "\n{}", targets::table(self));
        for (what, errors) in &self.failures {
            let _ = writeln!(text, "\n- {what}: {}", errors.join("; "));
        }
        text
    }

    /// The proxies of one role beside one another.
    fn table(&self, role: Role, baseline: &str) -> String {
        let proxies: Vec<_> = self.names(role).collect();
        let rule = "---:|".repeat(proxies.len());
        let names = proxies.join(" | ");
        let mut text = format!("\n| test | figure | {names} |\n|---|---|{rule}\n");
        for (test, _) in TESTS.iter().filter(|(_, load)| load.is_for(role)) {
            let figures = self.tests.get(*test).into_iter().flatten();
            let figures: BTreeSet<_> = figures.map(|(figure, _)| figure).collect();
            for figure in figures {
                let cells = proxies
                    .iter()
                    .map(|proxy| self.cell(test, figure, proxy, baseline));
                let cells = cells.collect::<Vec<_>>().join(" | ");
                let _ = writeln!(text, "| {test} | {figure} | {cells} |");
            }
        }
        text
    }

    fn cell(&self, test: &str, figure: &str, proxy: &str, baseline: &str) -> String {
        let Some(value) = self.median(test, figure, proxy) else {
            return "–".to_owned();
        };
        let ratio = self.ratio(test, figure, proxy, baseline);
        let ratio = ratio.filter(|ratio| ratio.is_finite() && proxy != baseline);
        let ratio = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
        format!("{}{ratio}", number(value))
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
            "| setup-64 | CPU µs/connection | 2.00 (0.50) | 4.00 | – |",
            "| test | figure | bare | all |",
            "| setup-64 | CPU µs/connection | 10.0 | 11.0 (1.10) |",
            "| test | figure | limited |",
            "| limit-10MB-1 | deviation % | 6.00 |",
            "| all | setup-64 | CPU µs/connection | at most 1.15 of bare | 1.10 | met |",
            "| limited | limit-10MB-1 | deviation % | at most 5.00 | 6.00 | **missed** |",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
