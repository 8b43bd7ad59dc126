//! Bytes as fast as they go.

use std::{net::TcpStream, os::fd::OwnedFd, sync::atomic::Ordering, time::Duration};

use anyhow::{Result, bail};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{SendFlags, send},
};

use crate::{
    noise::Noise,
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
    /// Down and up through the same tunnels.
    Both,
}

pub(crate) const GIB: f64 = (1 << 30) as f64;

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
    let mut bulk = Bulk::new(proxy, origin, count, way)?;
    let mut window = Window::new(proxy, extent);
    loop {
        if let Some(taken) = window.tick(bulk.moved())? {
            return Ok(taken);
        }
        bulk.turn()?;
    }
}

/// Tunnels that carry bulk for as long as they have their turns.
pub(crate) struct Bulk {
    tunnels: Vec<Tunnel>,
    epoll: OwnedFd,
    noise: Noise,
    buffer: Vec<u8>,
    received: u64,
    /// What others had sent up before.
    sunk: u64,
}

struct Tunnel {
    io: TcpStream,
    received: usize,
    sent: usize,
}

impl Bulk {
    pub(crate) fn new(proxy: &Proxy, origin: &Origin, count: usize, way: Way) -> Result<Self> {
        let (target, interest) = match way {
            Way::Down => (origin.source, epoll::EventFlags::IN),
            Way::Up => (origin.sink, epoll::EventFlags::OUT),
            Way::Both => (origin.both, epoll::EventFlags::IN | epoll::EventFlags::OUT),
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let ios: Vec<_> = (0..count)
            .map(|_| tunnel(proxy, Auth::None, target))
            .collect::<Result<_>>()?;
        let mut tunnels = Vec::with_capacity(count);
        for (at, io) in ios.into_iter().enumerate() {
            io.set_nonblocking(true)?;
            let token = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &io, token, interest)?;
            tunnels.push(Tunnel {
                io,
                received: 0,
                sent: 0,
            });
        }
        let noise = Noise::new();
        Ok(Self {
            tunnels,
            epoll,
            buffer: noise.buffer(),
            noise,
            received: 0,
            sunk: SUNK.load(Ordering::Relaxed),
        })
    }

    /// Bytes that have arrived at the other end.
    pub(crate) fn moved(&self) -> u64 {
        self.received + SUNK.load(Ordering::Relaxed) - self.sunk
    }

    /// Moves what is ready, or waits for 20 ms.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(self.tunnels.len());
        let timeout = Duration::from_millis(20).try_into()?;
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let flags = event.flags;
            let tunnel = &mut self.tunnels[usize::try_from(event.data.u64())?];
            if flags.contains(epoll::EventFlags::OUT) {
                match send(
                    &tunnel.io,
                    self.noise.from(tunnel.sent),
                    SendFlags::NOSIGNAL,
                ) {
                    Ok(len) => tunnel.sent += len,
                    Err(Errno::AGAIN) => {}
                    Err(error) => bail!("a tunnel broke: {error}"),
                }
            }
            // Also to hear of an end.
            if flags != epoll::EventFlags::OUT {
                let (received, buffer) = (&mut tunnel.received, &mut self.buffer);
                match self.noise.receive(&tunnel.io, received, buffer) {
                    Ok(0) => bail!("a tunnel ended"),
                    Ok(len) => self.received += len as u64,
                    Err(Errno::AGAIN) => {}
                    Err(error) => bail!("a tunnel broke: {error}"),
                }
            }
        }
        Ok(())
    }
}
