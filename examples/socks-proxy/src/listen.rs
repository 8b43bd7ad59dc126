//! Where to listen, and whether that is wise.

use std::{
    error::Error,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    str::FromStr,
};

use socks_tower::ListenAddrs;

use crate::{config::Config, inherited};

/// Where to listen.
#[derive(Clone)]
pub enum Listen {
    /// An address, or all that a name has.
    Addrs(Vec<SocketAddr>),
    /// The sockets that the service manager passed: those of this name, or all.
    Passed(Option<String>),
}

/// All addresses to listen on.
pub fn addrs(config: &Config) -> Vec<SocketAddr> {
    let addrs = config.listen.iter().flat_map(|listen| match &**listen {
        Listen::Addrs(addrs) => addrs.as_slice(),
        Listen::Passed(_) => &[],
    });
    addrs.copied().collect()
}

/// All sockets that listen already.
pub fn passed(config: &Config) -> impl Iterator<Item = &'static TcpListener> {
    config.listen.iter().flat_map(|listen| {
        match &**listen {
            Listen::Addrs(_) => None,
            Listen::Passed(name) => Some(inherited::called(name.as_deref())),
        }
        .into_iter()
        .flatten()
    })
}

/// What `listen` asks for has been passed. It is asked once it is to be served: who checks
/// a configuration passes nothing.
pub fn check_passed(config: &Config) -> Result<(), String> {
    let key = config.said.at("listen");
    let mut asked = false;
    for listen in &config.listen {
        let Listen::Passed(name) = &**listen else {
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

impl FromStr for Listen {
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
            .ok_or("not ADDR:PORT, NAME:PORT or systemd")?;
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
    let passed = passed(config).filter_map(|it| it.local_addr().ok());
    let mut all = addrs(config).into_iter().chain(passed);
    let exposed = all.find(|addr| !addr.ip().is_loopback());
    match exposed {
        Some(addr) if !has_users && !config.open => Err(format!(
            "{addr} is not a loopback address, and without users anybody who reaches it \
             could use the proxy: give --user or --users, or --open if that is what you want"
        )
        .into()),
        _ => Ok(()),
    }
}
