//! A small message there and back on each tunnel, one at a time.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::{
    origin::Origin,
    proxy::Proxy,
    socks::{Auth, tunnel},
    window::{Extent, Figures, Window},
};

const LEN: usize = 64;

struct Ball {
    stream: TcpStream,
    message: [u8; LEN],
    back: usize,
    left: Instant,
}

/// Plays on `count` tunnels; the units are round trips.
pub(crate) fn pingpong(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    extent: Extent,
) -> Result<Figures> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut balls = Vec::with_capacity(count);
    for at in 0..count {
        let stream = tunnel(proxy, Auth::None, origin.echo)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &epoll,
            &stream,
            epoll::EventData::new_u64(at as u64),
            epoll::EventFlags::IN,
        )?;
        balls.push(Ball {
            stream,
            message: [0; LEN],
            back: 0,
            left: Instant::now(),
        });
    }
    let mut window = Window::new(proxy, extent);
    for ball in &mut balls {
        ball.serve(0)?;
    }
    let mut events = Vec::with_capacity(count);
    let mut times: Vec<u32> = Vec::new();
    let mut done = 0;
    loop {
        if let Some(taken) = window.tick(done)? {
            times.sort_unstable();
            let quantile = |part: usize| {
                let at = (times.len() * part / 100).min(times.len().saturating_sub(1));
                times.get(at).map_or(f64::NAN, |&ns| f64::from(ns) / 1e3)
            };
            return Ok(Figures::from([
                ("p50 µs", quantile(50)),
                ("p99 µs", quantile(99)),
                ("CPU µs/round trip", taken.cpu * 1e6 / taken.units),
            ]));
        }
        events.clear();
        let timeout = Duration::from_millis(20).try_into()?;
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let ball = &mut balls[usize::try_from(event.data.u64())?];
            if !ball.catch()? {
                continue;
            }
            done += 1;
            if window.is_open() {
                let time = ball.left.elapsed().as_nanos();
                times.push(u32::try_from(time).unwrap_or(u32::MAX));
            }
            ball.serve(done)?;
        }
    }
}

impl Ball {
    fn serve(&mut self, number: u64) -> Result<()> {
        self.message[..8].copy_from_slice(&number.to_le_bytes());
        self.back = 0;
        self.left = Instant::now();
        let sent = send(&self.stream, &self.message, SendFlags::NOSIGNAL)?;
        ensure!(sent == LEN, "short write");
        Ok(())
    }

    /// True once it is back, as it left.
    fn catch(&mut self) -> Result<bool> {
        let mut part = [0; LEN];
        let rest = &mut part[self.back..];
        let len = match recv(&self.stream, &mut *rest, RecvFlags::empty()) {
            Ok((0, _)) => bail!("a tunnel ended"),
            Ok((len, _)) => len,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => bail!("a tunnel broke: {error}"),
        };
        let expected = &self.message[self.back..self.back + len];
        ensure!(rest[..len] == *expected, "another message came back");
        self.back += len;
        Ok(self.back == LEN)
    }
}
