//! Whether the tunnels of a proxy share its threads alike, start for start.

use std::time::Duration;

use anyhow::Result;

use crate::{
    bulk::{Bulk, GIB, Way},
    origin::Origin,
    proxy::Proxy,
    report::median,
    window::{Extent, Figures, Window},
};

/// Of each start.
const TIME: Duration = Duration::from_millis(300);

/// A start is slow under so much of the best rate.
const SLOW: f64 = 0.6;

/// One thread does it alone from so much of the CPU on.
const ALONE: f64 = 0.9;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// GiB/s.
    rate: f64,
    /// Of all of the CPU that of the busiest thread.
    busiest: f64,
}

/// Carries bulk down `count` tunnels through a proxy that was just started.
pub(crate) fn started(proxy: &Proxy, origin: &Origin, count: usize) -> Result<Started> {
    let mut bulk = Bulk::new(proxy, origin, count, Way::Down)?;
    let before = proxy.threads();
    let mut window = Window::new(proxy, Extent::Time(TIME));
    let taken = loop {
        if let Some(taken) = window.tick(bulk.moved())? {
            break taken;
        }
        bulk.turn()?;
    };
    let shares = proxy.threads().into_iter().map(|(thread, cpu)| {
        let before = before.get(&thread).copied().unwrap_or_default();
        cpu.saturating_sub(before).as_secs_f64()
    });
    let shares: Vec<_> = shares.collect();
    Ok(Started {
        rate: taken.units / GIB / taken.seconds,
        busiest: shares.iter().copied().fold(0.0, f64::max) / shares.iter().sum::<f64>(),
    })
}

/// What starts, at least one, have in common, and what not.
pub(crate) fn figures(starts: &[Started]) -> Figures {
    let rates = starts.iter().map(|it| it.rate);
    let best = rates.clone().fold(0.0, f64::max);
    let worst = rates.clone().fold(f64::INFINITY, f64::min);
    let slow = rates.clone().filter(|&rate| rate < SLOW * best).count();
    let alone = starts.iter().filter(|it| it.busiest > ALONE).count();
    Figures::from([
        ("GiB/s, best", best),
        ("GiB/s, median", median(rates).unwrap_or(f64::NAN)),
        ("GiB/s, worst", worst),
        ("slow starts %", percent(slow, starts)),
        ("starts on one thread %", percent(alone, starts)),
    ])
}

fn percent(count: usize, starts: &[Started]) -> f64 {
    count as f64 * 100.0 / starts.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_what_is_far_from_the_best() {
        let starts = [(2.0, 0.5), (1.1, 0.95), (1.3, 0.6), (2.0, 0.5)];
        let starts = starts.map(|(rate, busiest)| Started { rate, busiest });
        let figures = figures(&starts);
        assert_eq!(figures["GiB/s, median"], 1.65);
        assert_eq!(figures["GiB/s, worst"], 1.1);
        assert_eq!(figures["slow starts %"], 25.0);
        assert_eq!(figures["starts on one thread %"], 25.0);
    }
}
