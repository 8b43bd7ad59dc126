//! A small message there and back on each tunnel, one at a time.

use std::{
    collections::VecDeque,
    net::TcpStream,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
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
    window::{Extent, Figures, Taken, Window},
};

const LEN: usize = 64;

/// Plays on `count` tunnels; the units are round trips.
pub(crate) fn pingpong(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    extent: Extent,
) -> Result<Figures> {
    let mut game = Game::new(tunnels(proxy, origin, count)?)?;
    let taken = game.play(Window::new(proxy, extent), count)?;
    let mut figures = game.times();
    figures.insert("round trips/s", taken.units / taken.seconds);
    figures.insert("CPU µs/round trip", taken.cpu * 1e6 / taken.units);
    Ok(figures)
}

/// To those who send back what comes.
pub(crate) fn tunnels(proxy: &Proxy, origin: &Origin, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| tunnel(proxy, Auth::None, origin.echo))
        .collect()
}

pub(crate) struct Game {
    balls: Vec<Ball>,
    epoll: OwnedFd,
    /// Those that are not in play, for longest first.
    rest: VecDeque<usize>,
    /// Nanoseconds of each round trip within the window.
    times: Vec<u32>,
}

struct Ball {
    stream: TcpStream,
    message: [u8; LEN],
    back: usize,
    left: Instant,
}

impl Game {
    pub(crate) fn new(streams: Vec<TcpStream>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut balls = Vec::with_capacity(streams.len());
        for (at, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let token = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &stream, token, epoll::EventFlags::IN)?;
            balls.push(Ball {
                stream,
                message: [0; LEN],
                back: 0,
                left: Instant::now(),
            });
        }
        Ok(Self {
            rest: (0..balls.len()).collect(),
            balls,
            epoll,
            times: Vec::new(),
        })
    }

    /// Plays with `in_play` balls at once, all of them by turns.
    pub(crate) fn play(&mut self, mut window: Window<'_>, in_play: usize) -> Result<Taken> {
        for _ in 0..in_play {
            self.serve(0)?;
        }
        let mut events = Vec::with_capacity(in_play);
        let mut done = 0;
        loop {
            if let Some(taken) = window.tick(done)? {
                return Ok(taken);
            }
            events.clear();
            let timeout = Duration::from_millis(20).try_into()?;
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
            for event in &events {
                let at = usize::try_from(event.data.u64())?;
                let ball = &mut self.balls[at];
                if !ball.catch()? {
                    continue;
                }
                done += 1;
                if window.is_open() {
                    let time = ball.left.elapsed().as_nanos();
                    self.times.push(u32::try_from(time).unwrap_or(u32::MAX));
                }
                self.rest.push_back(at);
                self.serve(done)?;
            }
        }
    }

    fn serve(&mut self, number: u64) -> Result<()> {
        let at = self.rest.pop_front().context("a ball")?;
        self.balls[at].serve(number)
    }

    /// How long the round trips took.
    pub(crate) fn times(&mut self) -> Figures {
        self.times.sort_unstable();
        let last = self.times.len().saturating_sub(1);
        let quantile = |per_mille: usize| {
            let at = (self.times.len() * per_mille / 1000).min(last);
            self.times
                .get(at)
                .map_or(f64::NAN, |&ns| f64::from(ns) / 1e3)
        };
        Figures::from([
            ("p50 µs", quantile(500)),
            ("p99 µs", quantile(990)),
            ("p99.9 µs", quantile(999)),
        ])
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
        // A byte more than is due is an error.
        let len = match recv(&self.stream, &mut part, RecvFlags::empty()) {
            Ok((0, _)) => bail!("a tunnel ended"),
            Ok((len, _)) => len,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => bail!("a tunnel broke: {error}"),
        };
        let expected = self.message[self.back..].get(..len);
        ensure!(expected == Some(&part[..len]), "another message came back");
        self.back += len;
        Ok(self.back == LEN)
    }
}
