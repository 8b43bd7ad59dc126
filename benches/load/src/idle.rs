//! What a tunnel holds that has moved data and is idle.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit};

use crate::{
    memory::held,
    origin::Origin,
    proxy::Proxy,
    socks::{Auth, tunnel},
    window::Figures,
};

/// Each way through each tunnel.
const DATA: usize = 64 * 1024;

/// As many tunnels as the limit of descriptors permits a proxy that holds six
/// for each, and no more than `most`.
pub(crate) fn count(most: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let permitted = limit.saturating_sub(500) / 6;
    most.min(usize::try_from(permitted).unwrap_or(most))
}

pub(crate) fn idle(proxy: &Proxy, origin: &Origin, count: usize) -> Result<Figures> {
    // What is made once is made before.
    for _ in 0..8 {
        let first = tunnel(proxy, Auth::None, origin.echo)?;
        there_and_back(&first)?;
    }
    thread::sleep(Duration::from_millis(500));
    let before = held(proxy);
    let mut tunnels = Vec::with_capacity(count);
    for at in 0..count {
        let tunnel = tunnel(proxy, Auth::None, origin.echo);
        let tunnel = tunnel.and_then(|tunnel| there_and_back(&tunnel).map(|()| tunnel));
        tunnels.push(tunnel.with_context(|| format!("tunnel {at}"))?);
    }
    thread::sleep(Duration::from_millis(1500));
    let after = held(proxy);
    let each = |before: f64, after: f64| (after - before) / count as f64;
    Ok(Figures::from([
        ("tunnels", count as f64),
        ("bytes/tunnel", each(before.pss, after.pss)),
        (
            "descriptors/tunnel",
            each(before.descriptors, after.descriptors),
        ),
    ]))
}

pub(crate) fn there_and_back(mut tunnel: &TcpStream) -> Result<()> {
    // No byte as its neighbours, and no two stretches alike.
    let data: Vec<_> = (0_u32..)
        .map(|at| at.wrapping_mul(0x9e37_79b1).to_be_bytes()[0])
        .take(DATA)
        .collect();
    let mut back = vec![0; DATA];
    tunnel.write_all(&data)?;
    tunnel.read_exact(&mut back)?;
    ensure!(back == data, "something else came back");
    Ok(())
}
