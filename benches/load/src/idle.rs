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

/// Some proxies wait for acknowledgements that are delayed: one after the other
/// would take minutes.
const AT_ONCE: usize = 8;

/// As many tunnels as the limit of descriptors permits a proxy that holds six
/// for each, and no more than `most`.
pub(crate) fn count(most: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let permitted = limit.saturating_sub(500) / 6;
    most.min(usize::try_from(permitted).unwrap_or(most))
}

pub(crate) fn idle(proxy: &Proxy, origin: &Origin, count: usize) -> Result<Figures> {
    warm(proxy, origin)?;
    let before = held(proxy);
    let tunnels = open(proxy, origin, count)?;
    thread::sleep(Duration::from_millis(1500));
    let after = held(proxy);
    drop(tunnels);
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

/// Has made before what is made once.
pub(crate) fn warm(proxy: &Proxy, origin: &Origin) -> Result<()> {
    drop(open(proxy, origin, AT_ONCE)?);
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Tunnels that have each moved data.
pub(crate) fn open(proxy: &Proxy, origin: &Origin, count: usize) -> Result<Vec<TcpStream>> {
    let mut tunnels = Vec::with_capacity(count);
    while tunnels.len() < count {
        let some = (count - tunnels.len()).min(AT_ONCE);
        let some: Result<Vec<_>> = (0..some)
            .map(|_| tunnel(proxy, Auth::None, origin.echo))
            .collect();
        let some = some.and_then(|some| there_and_back(&some).map(|()| some));
        tunnels.extend(some.with_context(|| format!("behind tunnel {}", tunnels.len()))?);
    }
    Ok(tunnels)
}

/// Moves data both ways through all of `tunnels` at once.
pub(crate) fn there_and_back(tunnels: &[TcpStream]) -> Result<()> {
    // No byte as its neighbours, and no two stretches alike.
    let data: Vec<_> = (0_u32..)
        .map(|at| at.wrapping_mul(0x9e37_79b1).to_be_bytes()[0])
        .take(DATA)
        .collect();
    for mut tunnel in tunnels {
        tunnel.write_all(&data)?;
    }
    let mut back = vec![0; DATA];
    for mut tunnel in tunnels {
        tunnel.read_exact(&mut back)?;
        ensure!(back == data, "something else came back");
    }
    Ok(())
}
