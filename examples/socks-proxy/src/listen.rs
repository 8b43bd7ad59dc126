//! Where to listen, and whether that is wise.

use std::{
    error::Error,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
};

use socks_tower::{ListenAddrs, Session};

use crate::{config::Config, inherited};

/// A listener.
#[derive(Clone)]
pub struct Listen {
    /// Whether clients speak TLS there.
    tls: bool,
    at: Where,
}

#[derive(Clone)]
enum Where {
    /// An address, or all that a name has.
    Addrs(Vec<SocketAddr>),
    Unix(PathBuf),
    /// The sockets that the service manager passed: those of this name, or all.
    Passed(Option<String>),
}

/// All addresses to listen on, and whether with TLS.
fn tcp(config: &Config) -> impl Iterator<Item = (SocketAddr, bool)> {
    config.listen.iter().flat_map(|listen| {
        let addrs = match &listen.at {
            Where::Addrs(addrs) => addrs.as_slice(),
            Where::Unix(_) | Where::Passed(_) => &[],
        };
        addrs.iter().map(|&addr| (addr, listen.tls))
    })
}

/// All sockets that listen already, and whether with TLS.
fn inherited(config: &Config) -> impl Iterator<Item = (&'static TcpListener, bool)> {
    config.listen.iter().flat_map(|listen| {
        let passed = match &listen.at {
            Where::Passed(name) => Some(inherited::called(name.as_deref())),
            Where::Addrs(_) | Where::Unix(_) => None,
        };
        passed.into_iter().flatten().map(|it| (it, listen.tls))
    })
}

/// All addresses to listen on.
pub fn addrs(config: &Config) -> Vec<SocketAddr> {
    tcp(config).map(|(addr, _)| addr).collect()
}

/// All sockets that listen already.
pub fn passed(config: &Config) -> impl Iterator<Item = &'static TcpListener> {
    inherited(config).map(|(listener, _)| listener)
}

/// What `listen` asks for has been passed. It is asked once it is to be served: who checks
/// a configuration passes nothing.
pub fn check_passed(config: &Config) -> Result<(), String> {
    let key = config.said.at("listen");
    let mut asked = false;
    for listen in &config.listen {
        let Where::Passed(name) = &listen.at else {
            continue;
        };
        asked = true;
        if inherited::called(name.as_deref()).next().is_none() {
            return Err(format!(
                "{key}: {listen:?}: the service manager has passed no such socket: start this \
                 by its socket unit"
            ));
        }
    }
    if !asked && inherited::called(None).next().is_some() {
        tracing::warn!(
            "the service manager has passed sockets, which nobody listens on: add --listen systemd"
        );
    }
    Ok(())
}

/// All Unix sockets to listen on.
#[cfg(unix)]
pub fn unix(config: &Config) -> impl Iterator<Item = &PathBuf> {
    config.listen.iter().filter_map(|listen| match &listen.at {
        Where::Unix(path) => Some(path),
        Where::Addrs(_) | Where::Passed(_) => None,
    })
}

pub fn any_tls(config: &Config) -> bool {
    config.listen.iter().any(|listen| listen.tls)
}

/// Others than this machine reach it.
pub fn exposed(config: &Config) -> bool {
    all(config).any(|(addr, _)| !addr.ip().is_loopback())
}

/// And without TLS.
pub fn exposed_in_clear(config: &Config) -> bool {
    all(config).any(|(addr, tls)| !tls && !addr.ip().is_loopback())
}

/// All addresses, those of passed sockets too, and whether with TLS.
fn all(config: &Config) -> impl Iterator<Item = (SocketAddr, bool)> {
    let passed = inherited(config).filter_map(|(it, tls)| Some((it.local_addr().ok()?, tls)));
    tcp(config).chain(passed)
}

/// Tells whether a session's client speaks TLS, by where it came to. `bound` are the real
/// addresses of [`addrs`], and then of those [`passed`].
pub fn with_tls(config: &Config, bound: &[SocketAddr]) -> impl Fn(&Session) -> bool + use<> {
    let opened = tcp(config).map(|(_, tls)| tls);
    let speaks = opened.chain(inherited(config).map(|(_, tls)| tls));
    let all = bound.iter().zip(speaks);
    let tls: Vec<SocketAddr> = all
        .filter_map(|(&bound, tls)| tls.then_some(bound))
        .collect();
    move |session| {
        let came_to = session.local_addr;
        came_to.is_some_and(|to| {
            tls.iter().any(|addr| {
                let is_there = addr.ip().is_unspecified() || addr.ip() == to.ip();
                is_there && addr.port() == to.port() && addr.is_ipv4() == to.is_ipv4()
            })
        })
    }
}

impl Listen {
    /// Whether clients speak TLS there.
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, at) = match text.strip_prefix("tls://") {
            Some(at) => (true, at),
            None => (false, text),
        };
        match at.strip_prefix("unix:") {
            Some(_) if tls => Err("a Unix socket wants no TLS".into()),
            Some(_) if cfg!(not(unix)) => Err("there are no Unix sockets here".into()),
            Some("") => Err("a path is missing: unix:/run/socks-proxy.sock".into()),
            Some(path) => Ok(Where::Unix(path.into())),
            None => at.parse(),
        }
        .map(|at| Self { tls, at })
    }
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("systemd") {
            match name.strip_prefix(':') {
                Some(name) => return Ok(Self::Passed(Some(name.to_owned()))),
                None if name.is_empty() => return Ok(Self::Passed(None)),
                None => {}
            }
        }
        if let Ok(addr) = text.parse() {
            return Ok(Self::Addrs(vec![addr]));
        }
        if text.matches(':').count() > 1 && !text.starts_with('[') {
            return Err("an IPv6 address stands in brackets before its port: [::1]:1080".into());
        }
        let (name, port) = text
            .rsplit_once(':')
            .and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)))
            .ok_or("not ADDR:PORT, NAME:PORT, unix:PATH or systemd")?;
        if name.is_empty() {
            let all = "an address is missing; all of this machine's are";
            return Err(format!("{all} 0.0.0.0:{port} and [::]:{port}"));
        }
        of_name(name, port).map(Self::Addrs)
    }
}

/// Where to listen on behalf of clients, and what to tell them of it.
pub fn for_clients(config: &Config) -> Result<ListenAddrs, Box<dyn Error>> {
    let mut addrs = ListenAddrs::new();
    let advertise = config.said.at("advertise");
    for (number, &ip) in config.advertise.iter().enumerate() {
        let mut earlier = config.advertise.iter().take(number);
        if earlier.any(|it| it.is_ipv4() == ip.is_ipv4()) {
            return Err(format!("{advertise}: {ip} is the second of its family").into());
        }
        addrs = addrs
            .with_advertised(ip)
            .map_err(|_| format!("{advertise}: nobody can reach {ip}"))?;
    }
    Ok(match &config.ports {
        Some(ports) => addrs.with_ports(ports.0.clone()),
        None => addrs,
    })
}

/// All addresses of `name` that this machine has: `localhost` often names ::1
/// where there is no IPv6.
fn of_name(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let mut addrs = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "nobody is served yet")]
    let found = (name, port).to_socket_addrs();
    for addr in found.map_err(|error| error.to_string())? {
        let is_ours = TcpListener::bind((addr.ip(), 0)).is_ok();
        // Some files of hosts have each name twice.
        if is_ours && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    if addrs.is_empty() {
        return Err(format!("no address of {name} is one of this machine"));
    }
    Ok(addrs)
}

/// Refuses what would be an open proxy, unless told that it shall be one.
pub fn check(config: &Config, has_users: bool) -> Result<(), Box<dyn Error>> {
    if has_users || !config.open_to.is_empty() || config.open {
        return Ok(());
    }
    let mut open = all(config).filter(|(_, tls)| !tls || config.tls_client_ca.is_none());
    match open.find(|(addr, _)| !addr.ip().is_loopback()) {
        Some((addr, _)) => Err(format!(
            "{addr} is not a loopback address, and without users anybody who reaches it \
             could use the proxy: give --user or --users, --open-to for networks that need no \
             password, or --open if that is what you want"
        )
        .into()),
        _ => Ok(()),
    }
}
