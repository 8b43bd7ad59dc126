//! Ping-pong while other tunnels carry bulk.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow};

use crate::{
    bulk::{Bulk, GIB, Way},
    origin::Origin,
    pingpong::{Game, tunnels},
    proxy::Proxy,
    window::{Extent, Figures, Window},
};

const PLAYERS: usize = 10;

/// Plays beside `count` tunnels; the units are round trips. Bulk has a thread
/// of its own at both ends: what the game waits for is the proxy, or a CPU.
pub(crate) fn beside(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    extent: Extent,
) -> Result<Figures> {
    let mut bulk = Bulk::new(proxy, origin, count, Way::Down)?;
    let mut game = Game::new(tunnels(proxy, origin, PLAYERS)?)?;
    let (over, moved) = (AtomicBool::new(false), AtomicU64::new(0));
    let moved = &moved;
    thread::scope(|scope| {
        let carrying = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                bulk.turn()?;
                moved.store(bulk.moved(), Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
        let window = Window::new(proxy, extent).beside(moved);
        let taken = game.play(window, PLAYERS);
        over.store(true, Ordering::Relaxed);
        let carried = carrying.join().map_err(|_| anyhow!("it panicked"))?;
        carried.context("bulk")?;
        let taken = taken?;
        let mut figures = game.times();
        figures.insert("round trips/s", taken.units / taken.seconds);
        figures.insert("GiB/s", taken.beside / GIB / taken.seconds);
        Ok(figures)
    })
}
