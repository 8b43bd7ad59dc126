//! Bytes as fast as they go, one way.

use std::{net::TcpStream, sync::atomic::Ordering, time::Duration};

use anyhow::{Result, bail};
use rustix::{
    event::epoll,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::{
    origin::{Origin, SUNK},
    proxy::Proxy,
    socks::{Auth, tunnel},
    window::{Extent, Figures, Taken, Window},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the target to the client.
    Down,
    Up,
}

const GIB: f64 = (1 << 30) as f64;

pub(crate) fn bulk(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    way: Way,
    extent: Extent,
) -> Result<Figures> {
    let taken = transfer(proxy, origin, count, way, extent)?;
    Ok(Figures::from([
        ("GiB/s", taken.units / GIB / taken.seconds),
        ("CPU s/GiB", taken.cpu / (taken.units / GIB)),
    ]))
}

/// What `limited` is to let through in all, in MB/s.
const LIMIT: f64 = 10.0;

/// Long enough that a burst at its beginning or end does not show.
const LIMITED_TIME: Duration = Duration::from_secs(10);

/// Bytes as fast as a limit of [`LIMIT`] lets them.
pub(crate) fn limited(proxy: &Proxy, origin: &Origin, count: usize) -> Result<Figures> {
    let extent = Extent::Time(LIMITED_TIME);
    let taken = transfer(proxy, origin, count, Way::Down, extent)?;
    let rate = taken.units / 1e6 / taken.seconds;
    Ok(Figures::from([
        ("MB/s", rate),
        ("deviation %", (rate / LIMIT - 1.0).abs() * 100.0),
        ("CPU s/GiB", taken.cpu / (taken.units / GIB)),
    ]))
}

/// Runs `count` tunnels; the units are bytes.
fn transfer(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    way: Way,
    extent: Extent,
) -> Result<Taken> {
    let target = match way {
        Way::Down => origin.source,
        Way::Up => origin.sink,
    };
    let tunnels: Vec<TcpStream> = (0..count)
        .map(|_| tunnel(proxy, Auth::None, target))
        .collect::<Result<_>>()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, tunnel) in tunnels.iter().enumerate() {
        tunnel.set_nonblocking(true)?;
        let interest = match way {
            Way::Down => epoll::EventFlags::IN,
            Way::Up => epoll::EventFlags::OUT,
        };
        epoll::add(
            &epoll,
            tunnel,
            epoll::EventData::new_u64(at as u64),
            interest,
        )?;
    }
    let mut buffer = vec![7; 256 * 1024];
    let mut window = Window::new(proxy, extent);
    let mut events = Vec::with_capacity(count);
    let sunk = SUNK.load(Ordering::Relaxed);
    let mut received = 0;
    loop {
        // What counts is what has arrived at the other end.
        let done = match way {
            Way::Down => received,
            Way::Up => SUNK.load(Ordering::Relaxed) - sunk,
        };
        if let Some(taken) = window.tick(done)? {
            return Ok(taken);
        }
        events.clear();
        let timeout = Duration::from_millis(20).try_into()?;
        epoll::wait(
            &epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        )?;
        for event in &events {
            let tunnel = &tunnels[usize::try_from(event.data.u64())?];
            let moved = match way {
                // Discarded by the kernel: what the client does is no matter.
                Way::Down => recv(tunnel, &mut *buffer, RecvFlags::TRUNC).map(|(_, len)| len),
                Way::Up => send(tunnel, &buffer, SendFlags::NOSIGNAL),
            };
            match moved {
                Ok(0) => bail!("a tunnel ended"),
                Ok(len) => received += len as u64,
                Err(Errno::AGAIN) => {}
                Err(error) => bail!("a tunnel broke: {error}"),
            }
        }
    }
}
