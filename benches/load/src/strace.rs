//! System calls for each unit of work: a count, which does not drift.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{
    Syscalls, bulk::Way, load::Load, origin::Origin, proxy::Proxy, socks::Auth, udp::Spread,
    window::Extent,
};

/// The calls of one proxy in one test.
#[derive(Deserialize, Serialize)]
pub(crate) struct Calls {
    pub(crate) proxy: String,
    pub(crate) test: String,
    pub(crate) each: f64,
    /// Those that are made at least every twentieth time, most frequent first.
    pub(crate) which: Vec<(String, f64)>,
}

/// What a unit is, and how many of them stand for one of the command line's.
const KINDS: [(&str, &str, Load, f64); 6] = [
    ("setup-1", "connection", Load::Setup(1, Auth::None), 1.0),
    ("setup-64", "connection", Load::Setup(64, Auth::None), 1.0),
    (
        "setup-64-password",
        "connection",
        Load::Setup(64, Auth::Password),
        1.0,
    ),
    ("pingpong-1", "round trip", Load::PingPong(1), 1.0),
    // It crosses the proxy there and back.
    ("udp-32", "datagram", Load::Udp(32, 64, Spread::One), 2.0),
    // Some read a KiB at a time.
    ("bulk-1-down", "MiB", Load::Bulk(1, Way::Down), 0.125),
];

pub(crate) fn run(options: &Syscalls) -> Result<()> {
    let origin = Origin::start()?;
    let mut all = Vec::new();
    for proxy in options.proxies.commands()? {
        let kinds = KINDS.iter().filter(|kind| kind.2.is_for(proxy.role()));
        for &(test, _, load, units_each) in kinds {
            let line = match load {
                Load::Setup(_, Auth::Password) => proxy.password.as_ref(),
                _ => Some(&proxy.open),
            };
            let Some(line) = line else { continue };
            match count(line, &origin, load, options.units) {
                Ok(counted) => {
                    let units = options.units as f64 * units_each;
                    let each = |calls: u64| calls as f64 / units;
                    let sum = counted.iter().map(|it| it.1).sum();
                    let which = counted.into_iter().map(|(name, calls)| (name, each(calls)));
                    let calls = Calls {
                        proxy: proxy.name.clone(),
                        test: test.to_owned(),
                        each: each(sum),
                        which: which.filter(|it| it.1 >= 0.05).collect(),
                    };
                    eprintln!("{test:20} {:14} {:.2}", calls.proxy, calls.each);
                    all.push(calls);
                }
                Err(error) => eprintln!("{test:20} {:14} failed: {error:#}", proxy.name),
            }
        }
    }
    if let Some(folder) = options.out.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(
        options.out.with_extension("json"),
        serde_json::to_string_pretty(&all)?,
    )?;
    fs::write(options.out.with_extension("md"), table(&all))?;
    print!("{}", table(&all));
    Ok(())
}

/// The calls of all of a proxy's processes during `units` units.
fn count(line: &str, origin: &Origin, load: Load, units: u64) -> Result<Vec<(String, u64)>> {
    let proxy = Proxy::start(line)?;
    let (warm, extent) = match load {
        Load::Bulk(..) => (Extent::Units(8 << 20), Extent::Units(units << 17)),
        _ => (Extent::Units(100), Extent::Units(units)),
    };
    load.put_on(&proxy, origin, warm)?;
    thread::sleep(Duration::from_millis(300));

    let file = std::env::temp_dir().join(format!("load-strace.{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&file);
    for pid in proxy.pids() {
        strace.args(["-p", &pid.to_string()]);
    }
    let strace = strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut strace = strace.spawn().context("strace")?;
    // It says nowhere that it has attached.
    thread::sleep(Duration::from_millis(700));
    let loaded = load.put_on(&proxy, origin, extent);
    thread::sleep(Duration::from_millis(200));
    let pid = Pid::from_raw(strace.id().cast_signed()).context("a process")?;
    kill_process(pid, Signal::INT)?;
    let began = Instant::now();
    while strace.try_wait()?.is_none() {
        if began.elapsed() > Duration::from_secs(5) {
            strace.kill()?;
            bail!("strace does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
    loaded?;
    let table = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let rows = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let name = fields.last().filter(|name| **name != "total")?;
        fields.first()?.parse::<f64>().ok()?;
        Some(((*name).to_owned(), fields.get(3)?.parse().ok()?))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row: &(String, u64)| std::cmp::Reverse(row.1));
    Ok(rows)
}

pub(crate) fn table(all: &[Calls]) -> String {
    let mut text =
        String::from("| system calls | unit | proxy | each | which |\n|---|---|---|---:|---|\n");
    for (test, unit, ..) in KINDS {
        for calls in all.iter().filter(|it| it.test == test) {
            let which = calls
                .which
                .iter()
                .map(|(name, each)| format!("{name} {each:.2}"));
            let which = which.collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                text,
                "| {test} | {unit} | {} | {:.2} | {which} |",
                calls.proxy, calls.each
            );
        }
    }
    text
}
