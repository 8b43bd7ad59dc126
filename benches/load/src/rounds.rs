//! Round by round, all proxies at each test back to back, in an order that
//! rotates: what drifts between rounds is the same for all.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    Run,
    idle::{self, idle},
    load::{Load, Pace, TESTS},
    origin::Origin,
    proxy::{Commands, Proxy, Role},
    report::Report,
    socks::{Auth, tunnel},
    starts::{self, started},
    window::{Extent, Figures},
};

/// Who fails a test so often is not asked again.
const PATIENCE: usize = 2;

pub(crate) fn run(options: &Run) -> Result<()> {
    let proxies = options.proxies.commands()?;
    ensure!(!proxies.is_empty(), "no --proxy");
    let origin = Origin::start()?;
    let mut report = Report::new(options, &proxies)?;
    let wanted = |name: &str| {
        options.only.is_empty() || options.only.iter().any(|it| name.contains(it.as_str()))
    };
    let tests = |pace| {
        let tests = TESTS.iter().filter(|(name, _)| wanted(name));
        tests.filter(move |(_, load)| load.pace() == pace)
    };
    let timed: Vec<_> = tests(Pace::Timed).collect();
    let extent = Extent::Time(Duration::try_from_secs_f64(options.seconds)?);

    for round in 0..options.rounds {
        let mut running = BTreeMap::new();
        for (number, proxy) in proxies.iter().enumerate() {
            if !timed.iter().any(|(_, load)| load.is_for(proxy.role())) {
                continue;
            }
            for auth in [Auth::None, Auth::Password] {
                let line = match auth {
                    Auth::None => Some(&proxy.open),
                    Auth::Password => proxy.password.as_ref(),
                };
                let Some(line) = line else { continue };
                match start(line, auth, &origin) {
                    Ok(proxy) => drop(running.insert((number, auth == Auth::Password), proxy)),
                    Err(error) => report.fail(&proxy.name, "start", round, &error),
                }
            }
        }
        for (at, (name, load)) in timed.iter().enumerate() {
            for turn in 0..proxies.len() {
                let number = (turn + round + at) % proxies.len();
                let key = (number, load.auth() == Auth::Password);
                let Some(proxy) = running.get(&key) else {
                    continue;
                };
                let who = &proxies[number].name;
                if !load.is_for(Role::of(who)) || report.failures(who, name) >= PATIENCE {
                    continue;
                }
                match load.put_on(proxy, &origin, extent) {
                    Ok(figures) => report.add(who, name, round, &figures),
                    Err(error) => report.fail(who, name, round, &error),
                }
                // What was cut short has to be noticed and closed.
                std::thread::sleep(Duration::from_millis(150));
            }
        }
        drop(running);
        report.write(&options.out)?;
    }
    for round in 0..options.rounds.div_ceil(3) {
        for (name, load) in tests(Pace::Anew) {
            for proxy in proxies.iter().filter(|it| load.is_for(it.role())) {
                match put_on_anew(*load, proxy, &origin, options, extent) {
                    Ok(figures) => report.add(&proxy.name, name, round, &figures),
                    Err(error) => report.fail(&proxy.name, name, round, &error),
                }
            }
        }
        report.write(&options.out)?;
    }
    for (name, load) in tests(Pace::Starts) {
        start_often(name, *load, &proxies, &origin, options, &mut report);
        report.write(&options.out)?;
    }
    println!("{}", report.markdown());
    Ok(())
}

/// Starts each proxy many times, by turns with the others.
fn start_often(
    name: &str,
    load: Load,
    proxies: &[Commands],
    origin: &Origin,
    options: &Run,
    report: &mut Report,
) {
    let Load::Starts(count) = load else { return };
    let mut all: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for number in 0..options.starts {
        for turn in 0..proxies.len() {
            let proxy = &proxies[(number + turn) % proxies.len()];
            if !load.is_for(proxy.role()) || report.failures(&proxy.name, name) >= PATIENCE {
                continue;
            }
            let begun = start(&proxy.open, Auth::None, origin);
            match begun.and_then(|running| started(&running, origin, count)) {
                Ok(started) => {
                    eprintln!("{number} {name:20} {:14} {started:.3?}", proxy.name);
                    all.entry(&proxy.name).or_default().push(started);
                }
                Err(error) => report.fail(&proxy.name, name, number, &error),
            }
        }
    }
    for (proxy, starts) in &all {
        report.add(proxy, name, 0, &starts::figures(starts));
    }
}

/// Puts a load on a proxy that is started for it.
fn put_on_anew(
    load: Load,
    proxy: &Commands,
    origin: &Origin,
    options: &Run,
    extent: Extent,
) -> Result<Figures> {
    let proxy = start(&proxy.open, Auth::None, origin)?;
    match load {
        Load::Idle => idle(&proxy, origin, idle::count(options.idle)),
        _ => load.put_on(&proxy, origin, extent),
    }
}

/// Starts a proxy, and sees that it carries bytes as they are.
fn start(line: &str, auth: Auth, origin: &Origin) -> Result<Proxy> {
    let proxy = Proxy::start(line)?;
    let before = crate::origin::accepted();
    let first = tunnel(&proxy, auth, origin.echo).context("first tunnel")?;
    idle::there_and_back(&[first]).context("first tunnel")?;
    ensure!(
        crate::origin::accepted() > before,
        "the target was not reached"
    );
    Ok(proxy)
}
