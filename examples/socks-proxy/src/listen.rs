//! Where to listen, and whether that is wise.

use std::{error::Error, io, net::SocketAddr};

use crate::args::Args;

/// Refuses what would be an open proxy, unless told that it shall be one, and
/// addresses that no client could be told.
pub fn check(args: &Args, has_users: bool) -> Result<(), Box<dyn Error>> {
    for (i, ip) in args.advertise.iter().enumerate() {
        if ip.is_unspecified() {
            return Err(format!("--advertise: nobody can reach {ip}").into());
        }
        let mut earlier = args.advertise.iter().take(i);
        if earlier.any(|it| it.is_ipv4() == ip.is_ipv4()) {
            return Err(format!("--advertise: {ip} is the second of its family").into());
        }
    }
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

/// Says which address it was, as far as that is known.
pub fn failed(addrs: &[SocketAddr], error: &io::Error) -> String {
    let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    format!("cannot listen on {}: {error}", addrs.join(", "))
}
