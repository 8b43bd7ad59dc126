//! Where to listen, and whether that is wise.

use std::{error::Error, net::SocketAddr};

use socks_tower::listen as listen_on;
use tokio::net::TcpListener;

use crate::args::Args;

/// Refuses what would be an open proxy, unless told that it shall be one.
pub fn check(args: &Args, has_users: bool) -> Result<(), Box<dyn Error>> {
    let exposed = args.listen.iter().find(|addr| !addr.ip().is_loopback());
    match exposed {
        Some(addr) if !has_users && !args.open => Err(format!(
            "{addr} is not a loopback address, and without users anybody who reaches it \
             could use the proxy: give --user or --users, or --open if that is what you want"
        )
        .into()),
        _ => Ok(()),
    }
}

/// Listens on all of `addrs`; says which they are, with real ports.
pub fn listen(addrs: &[SocketAddr]) -> Result<(Vec<TcpListener>, String), Box<dyn Error>> {
    let mut listeners = Vec::new();
    let mut names = Vec::new();
    for &addr in addrs {
        let listener =
            listen_on(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
        names.push(listener.local_addr()?.to_string());
        listeners.push(listener);
    }
    Ok((listeners, names.join(", ")))
}
