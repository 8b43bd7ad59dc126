//! Round by round, all proxies at each test back to back, in an order that
//! rotates: what drifts between rounds is the same for all.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    Run,
    bulk::{Way, bulk},
    idle::{self, idle},
    origin::Origin,
    pingpong::pingpong,
    proxy::{Commands, Proxy},
    report::Report,
    setup::setup,
    socks::{Auth, tunnel},
    udp::udp,
    window::{Extent, Figures},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Bulk(usize, Way),
    Setup(usize, Auth),
    PingPong(usize),
    Udp,
    Idle,
}

pub(crate) const TESTS: [(&str, Load); 14] = [
    ("bulk-1-down", Load::Bulk(1, Way::Down)),
    ("bulk-1-up", Load::Bulk(1, Way::Up)),
    ("bulk-64-down", Load::Bulk(64, Way::Down)),
    ("bulk-64-up", Load::Bulk(64, Way::Up)),
    ("setup-1", Load::Setup(1, Auth::None)),
    ("setup-64", Load::Setup(64, Auth::None)),
    ("setup-512", Load::Setup(512, Auth::None)),
    ("setup-1-password", Load::Setup(1, Auth::Password)),
    ("setup-64-password", Load::Setup(64, Auth::Password)),
    ("setup-512-password", Load::Setup(512, Auth::Password)),
    ("pingpong-1", Load::PingPong(1)),
    ("pingpong-100", Load::PingPong(100)),
    ("udp", Load::Udp),
    ("idle", Load::Idle),
];

impl Load {
    fn auth(self) -> Auth {
        match self {
            Self::Setup(_, auth) => auth,
            Self::Bulk(..) | Self::PingPong(_) | Self::Udp | Self::Idle => Auth::None,
        }
    }

    pub(crate) fn put_on(self, proxy: &Proxy, origin: &Origin, extent: Extent) -> Result<Figures> {
        match self {
            Self::Bulk(count, way) => bulk(proxy, origin, count, way, extent),
            Self::Setup(count, auth) => setup(proxy, origin, count, auth, extent),
            Self::PingPong(count) => pingpong(proxy, origin, count, extent),
            Self::Udp => udp(proxy, origin, extent),
            Self::Idle => idle(proxy, origin, idle::count(usize::MAX)),
        }
    }
}

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
    let tests: Vec<_> = TESTS.iter().filter(|(name, _)| wanted(name)).collect();
    let extent = Extent::Time(Duration::try_from_secs_f64(options.seconds)?);

    for round in 0..options.rounds {
        let mut running = BTreeMap::new();
        for (number, proxy) in proxies.iter().enumerate() {
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
        let timed = tests.iter().filter(|(_, load)| *load != Load::Idle);
        for (at, (name, load)) in timed.enumerate() {
            for turn in 0..proxies.len() {
                let number = (turn + round + at) % proxies.len();
                let key = (number, load.auth() == Auth::Password);
                let Some(proxy) = running.get(&key) else {
                    continue;
                };
                let who = &proxies[number].name;
                if report.failures(who, name) >= PATIENCE {
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
    // Bytes hardly drift.
    let idles = match tests.iter().any(|(_, load)| *load == Load::Idle) {
        true => options.rounds.div_ceil(3),
        false => 0,
    };
    for round in 0..idles {
        for proxy in &proxies {
            match idle_of(proxy, &origin, options.idle) {
                Ok(figures) => report.add(&proxy.name, "idle", round, &figures),
                Err(error) => report.fail(&proxy.name, "idle", round, &error),
            }
        }
        report.write(&options.out)?;
    }
    println!("{}", report.markdown());
    Ok(())
}

fn idle_of(proxy: &Commands, origin: &Origin, most: usize) -> Result<Figures> {
    let proxy = start(&proxy.open, Auth::None, origin)?;
    idle(&proxy, origin, idle::count(most))
}

/// Starts a proxy, and sees that it carries bytes as they are.
fn start(line: &str, auth: Auth, origin: &Origin) -> Result<Proxy> {
    let proxy = Proxy::start(line)?;
    let before = crate::origin::accepted();
    let first = tunnel(&proxy, auth, origin.echo).context("first tunnel")?;
    idle::there_and_back(&first).context("first tunnel")?;
    ensure!(
        crate::origin::accepted() > before,
        "the target was not reached"
    );
    Ok(proxy)
}
